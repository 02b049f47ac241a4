"""A network at work: batches to candidates, candidates to metrics per process."""
