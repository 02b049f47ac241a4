"""Where a trained model is: a folder with a model card, or the newest checkpoint of a run."""

from pathlib import Path

from mlpf_stream.errors import MissingDataError
from mlpf_stream.models.artifact import CARD_FILE


def resolve_checkpoint(path: str) -> Path:
    """Return the folder of a model: the folder itself, or the newest checkpoint of a run.

    Raises:
        MissingDataError: neither a model nor a run.
    """
    folder = Path(path.removeprefix("file://"))
    if (folder / CARD_FILE).is_file():
        return folder
    steps = sorted((folder / "checkpoints").glob("step-*"))
    if not steps:
        msg = (
            f"expected a checkpoint (a folder with {CARD_FILE}) or a run folder, found neither "
            f"at {path!r}; check the path, or make one with 'mlpf train'"
        )
        raise MissingDataError(msg)
    return steps[-1]
