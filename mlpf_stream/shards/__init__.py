"""Packs, shards and their index: events as Arrow IPC members of ordinary tar files."""
