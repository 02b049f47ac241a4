"""The error tree. A message says what was expected, what was found, where, and what to do next.

MlpfError                                   exit  retryable
  ConfigError(ValueError)                     2   no    recipe, option or argument is wrong
  DataError                                   3   no    input data cannot be used
    SchemaError(ValueError)                   3   no    file or dataset of another kind or version
    EventError(ValueError)                    3   no    one event contradicts itself
    MissingDataError(FileNotFoundError)       3   no    nothing at that place
    ShardError(OSError)                       3   yes   bytes differ from their checksum
    AccessError(PermissionError)              3   no    object storage refuses: credentials, rights
  StorageError(ConnectionError)               4   yes   object storage does not answer
  DeviceError(RuntimeError)                   4   yes   accelerator or cluster not usable
  TrainingError(RuntimeError)                 5   no    training cannot go on
    NonFiniteLossError(ArithmeticError)       5   no    names step, rank and event keys
    ResumeError(ValueError)                   5   no    checkpoint and run do not belong together
  MissingExtraError(ImportError)              2   no    names the extra to install

`exit_code` is what `mlpf` returns; `retryable` is what a job's back-off reads, never the text.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar


class MlpfError(Exception):
    """Base of every error that a user may cause or meet."""

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __reduce__(self) -> tuple[object, ...]:
        """Cross process borders whole, whatever the constructor takes: workers raise these too."""
        return _rebuild, (type(self), self.args, dict(vars(self)))


def error_tree(error: MlpfError) -> dict[str, object]:
    """Return an error as plain values, for JSON: its kind, text, exit code and attributes."""
    return {
        "kind": type(error).__name__,
        "message": str(error),
        "code": error.exit_code,
        "attributes": {
            name: value
            for name, value in vars(error).items()
            if isinstance(value, str | int | float)
        },
    }


def error_from_tree(tree: Mapping[str, object]) -> MlpfError:
    """Return the error that `error_tree` described, with its text, kind and attributes."""
    kinds, waiting = {}, [MlpfError]
    while waiting:
        kind = waiting.pop()
        kinds[kind.__name__] = kind
        waiting.extend(kind.__subclasses__())
    kind = kinds.get(str(tree["kind"]), TrainingError)
    attributes = tree.get("attributes")
    state = dict(attributes) if isinstance(attributes, dict) else {}
    return _rebuild(kind, (str(tree["message"]),), state)


def _rebuild(
    kind: type[MlpfError], args: tuple[object, ...], state: dict[str, object]
) -> MlpfError:
    """Return the error that another process raised."""
    error = kind.__new__(kind)
    error.args = args
    vars(error).update(state)
    return error


class ConfigError(MlpfError, ValueError):
    """A recipe, option or argument is wrong."""

    exit_code = 2


class MissingExtraError(MlpfError, ImportError):
    """An optional package is absent."""

    exit_code = 2

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"this needs the package {package!r}, which is not installed; "
            f"install it with: pip install 'mlpf-stream[{extra}]'"
        )
        self.package = package
        self.extra = extra


class DataError(MlpfError):
    """Input data cannot be used."""

    exit_code = 3


class SchemaError(DataError, ValueError):
    """A file or dataset is of another kind or version than expected."""


class EventError(DataError, ValueError):
    """One event contradicts itself."""

    def __init__(self, where: str, entry: int, reason: str) -> None:
        super().__init__(f"event {entry} of {where}: {reason}")
        self.where = where
        self.entry = entry
        self.reason = reason


class MissingDataError(DataError, FileNotFoundError):
    """Nothing is at that place."""


class ShardError(DataError, OSError):
    """The bytes of a shard differ from what its index promises."""

    retryable = True

    def __init__(self, shard: str, expected: str, found: str) -> None:
        super().__init__(
            f"shard {shard!r}: expected {expected}, found {found}; "
            "restore the shard from its source or convert it again"
        )
        self.shard = shard
        self.expected = expected
        self.found = found


class AccessError(DataError, PermissionError):
    """The object storage refused: no credentials, wrong ones, or no right to do this."""


class StorageError(MlpfError, ConnectionError):
    """The object storage did not answer in time; a later try may succeed."""

    exit_code = 4
    retryable = True


class DeviceError(MlpfError, RuntimeError):
    """The accelerator or cluster cannot be used."""

    exit_code = 4
    retryable = True


class TrainingError(MlpfError, RuntimeError):
    """Training cannot go on."""

    exit_code = 5


class NonFiniteLossError(TrainingError, ArithmeticError):
    """The loss or its gradient is not a finite number."""

    def __init__(self, step: int, rank: int, keys: Sequence[str]) -> None:
        shown = ", ".join(keys[:20]) + (f" and {len(keys) - 20} more" if len(keys) > 20 else "")
        super().__init__(
            f"loss or gradient is not finite at step {step} on rank {rank}; events: {shown}; "
            "look at them with 'mlpf inspect', lower train.learning_rate, "
            "or resume from an older checkpoint"
        )
        self.step = step
        self.rank = rank
        self.keys = tuple(keys)


class ResumeError(TrainingError, ValueError):
    """A checkpoint and the run that wants to continue it do not belong together."""
