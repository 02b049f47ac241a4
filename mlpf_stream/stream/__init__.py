"""From a dataset to batches: plan, windows, collate, engine."""
