"""What a conversion must know of a file before it reads its events: one look at an open file."""

from collections.abc import Mapping
from dataclasses import dataclass

from mlpf_stream.columns import CLUSTER, HIT, TRACK, Detector, Mode
from mlpf_stream.edm4hep.events import FieldSource, check_mode, choose_field
from mlpf_stream.edm4hep.leaves import CLUSTERS, PFOS, TRACKS
from mlpf_stream.edm4hep.reader import EventFile
from mlpf_stream.edm4hep.rootfile import open_root
from mlpf_stream.edm4hep.source import generator_of_file, process_of_file


@dataclass(frozen=True, slots=True)
class Survey:
    """What a file holds: its process (None where it does not say), events, field [T] and size.

    `rows` estimates the rows of each element kind, and of particles, from the sizes of baskets.
    """

    process: str | None
    generator: Mapping[str, str | int | float]
    entries: int
    rows: Mapping[str, int]
    field: float
    field_source: FieldSource


def survey_file(path: str, detector: Detector, mode: Mode, field: float | None) -> Survey:
    """Look at a file without reading its events.

    Raises:
        MissingDataError: no file is at that place.
        SchemaError: the file is not one after full reconstruction, or lacks what `mode` needs.
        DataError: the file is not ROOT, truncated or corrupt, or was made with another field.
    """
    with open_root(path) as root:
        file = EventFile(root)
        check_mode(file, detector, mode)
        chosen, source = choose_field(file, detector, field)
        return Survey(
            process=process_of_file(root),
            generator=dict(generator_of_file(root)),
            entries=file.entries,
            rows=_rows(file, detector, mode),
            field=chosen,
            field_source=source,
        )


def _rows(file: EventFile, detector: Detector, mode: Mode) -> dict[str, int]:
    """Estimate the rows of a file."""
    rows = {TRACK.name: file.estimated_rows(f"{TRACKS}.chi2")}
    if mode == "hits":
        hits = (file.estimated_rows(f"{name}.energy") for name in detector.calorimeter_hits)
        rows[HIT.name] = sum(hits)
    else:
        rows[CLUSTER.name] = file.estimated_rows(f"{CLUSTERS}.energy")
    # About as many generator particles as candidates, and somewhat more than tracks.
    rows["particle"] = 2 * max(file.estimated_rows(f"{PFOS}.energy"), rows[TRACK.name])
    return rows
