"""Where a trained model is: a folder with a model card, or the newest checkpoint of a run."""

from pathlib import Path
from typing import Final

from mlpf_stream.errors import MissingDataError
from mlpf_stream.models.artifact import CARD_FILE

FOLDER: Final = "checkpoints"
"""Where a run keeps its checkpoints, one folder `step-NUMBER` each."""


def list_checkpoints(run: Path) -> list[Path]:
    """Return the committed checkpoints of a run, oldest first."""
    return sorted((run / FOLDER).glob("step-*"))


def resolve_checkpoint(path: str) -> Path:
    """Return the folder of a model: the folder itself, or the newest checkpoint of a run.

    Raises:
        MissingDataError: neither a model nor a run.
    """
    folder = Path(path.removeprefix("file://"))
    if (folder / CARD_FILE).is_file():
        return folder
    steps = list_checkpoints(folder)
    if not steps:
        msg = (
            f"expected a checkpoint (a folder with {CARD_FILE}) or a run folder, found neither "
            f"at {path!r}; check the path, or make one with 'mlpf train'"
        )
        raise MissingDataError(msg)
    return steps[-1]
