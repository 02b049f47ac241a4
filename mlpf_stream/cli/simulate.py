"""`mlpf simulate`."""

from typing import Annotated

import typer

from mlpf_stream.cli.output import Json, emit
from mlpf_stream.columns import GUNS, PROCESSES


def simulate(
    process: Annotated[str, typer.Option(help=f"{', '.join((*PROCESSES, *GUNS))}")],
    out: Annotated[str, typer.Option(help="folder for the ROOT files")],
    events: Annotated[int, typer.Option(min=1, help="events to make")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="same seed, same events")] = 1,
    detector: Annotated[str, typer.Option(help="detector to simulate")] = "clic",
    pileup: Annotated[float, typer.Option(min=0, help="mean overlaid events")] = 0.0,
    files: Annotated[int, typer.Option(min=1, help="files to spread the events over")] = 4,
    multiplicity: Annotated[int, typer.Option(min=1, help="gun particles per event")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="processes at work")] = 1,
    as_json: Json = False,
) -> None:
    """Make EDM4HEP files: Pythia 8 or guns, and a fast CLIC-like detector (no full simulation)."""
    from mlpf_stream.simulate.simulate import SimulateRequest
    from mlpf_stream.simulate.simulate import simulate as run

    request = SimulateRequest(
        process=process,
        events=events,
        seed=seed,
        out=out,
        detector=detector,
        pileup=pileup,
        files=files,
        multiplicity=multiplicity,
        workers=workers,
    )
    summary = run(request)
    payload = {"files": list(summary.files), "events": summary.events, "seconds": summary.seconds}
    rate = summary.events / max(summary.seconds, 1e-9)
    emit(payload, [f"{summary.events} events in {len(summary.files)} files, {rate:.0f}/s"], as_json)
