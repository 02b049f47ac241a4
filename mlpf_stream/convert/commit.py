"""The moment at which a dataset, or a new version of it, exists; and what is tidied up after it.

`manifest.json` is replaced by one atomic write. Before that nothing of the old dataset is touched;
after it, whatever does not belong to the new one is removed. A rerun repeats what was cut short.
"""

from mlpf_stream.convert.journal import forget
from mlpf_stream.manifest import MANIFEST_NAME, VERSIONS_FOLDER, Manifest, version_path
from mlpf_stream.shards.index import index_path, shard_path
from mlpf_stream.storage import Store


def commit(store: Store, manifest: Manifest, old: Manifest | None) -> None:
    """Make `manifest` the newest of the dataset; `old` is the version that it grew from."""
    if old is not None:
        _archive(store, old.version)
    store.write(MANIFEST_NAME, manifest.to_json().encode())
    tidy(store, manifest)


def tidy(store: Store, manifest: Manifest) -> None:
    """Keep what belongs to a committed dataset: its shards, indices and versions of the manifest.

    Every version holds all shards of those before it, so the newest names them all.
    """
    _archive(store, manifest.version)
    kept = {version_path(version) for version in range(1, manifest.version + 1)}
    for shard in manifest.shards:
        kept |= {shard_path(shard.name), index_path(shard.name)}
    folders = (VERSIONS_FOLDER, "shards", "index")
    for name in (name for folder in folders for name in store.list(folder)):
        if name not in kept:
            store.delete(name)
    forget(store)
    store.sweep()


def _archive(store: Store, version: int) -> None:
    """Write the newest manifest, which is of this version, beside those before it."""
    path, text = version_path(version), store.read(MANIFEST_NAME)
    if not store.exists(path) or store.read(path) != text:
        store.write(path, text)
