"""Results of tasks, kept below the dataset while it is made, so that a resumed one goes on there.

A task's name is a digest of everything that decides its result, so a result that is there is right.
Results are written by whoever did the task, each with one atomic write.
"""

from mlpf_stream.storage import Store, open_store

FOLDER = ".convert"


class Journal:
    """The finished tasks of one dataset."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names = frozenset(store.list(FOLDER))

    def result(self, name: str) -> str | None:
        """Return the result of a task as JSON; None if it is still to do."""
        path = _path(name)
        return self._store.read(path).decode() if path in self._names else None


def record(url: str, name: str, result: str) -> None:
    """Write down the result of a task of the dataset at `url`."""
    open_store(url).write(_path(name), result.encode())


def forget(store: Store) -> None:
    """Remove all results."""
    for name in store.list(FOLDER):
        store.delete(name)


def _path(name: str) -> str:
    return f"{FOLDER}/{name}.json"
