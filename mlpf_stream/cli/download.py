"""`mlpf download`."""

from typing import TYPE_CHECKING, Annotated

import typer

from mlpf_stream.cli.output import Json, emit
from mlpf_stream.errors import ConfigError

if TYPE_CHECKING:
    from mlpf_stream.download import DownloadRequest

STOPPED = 143
SILENCE = 30.0
"""A connection without any byte for so long is given up, and another begun [s]."""


def download(
    name: Annotated[
        str | None, typer.Argument(help="published set", show_default="list the sets")
    ] = None,
    out: Annotated[str | None, typer.Option(help="local folder for the files")] = None,
    files: Annotated[
        int | None, typer.Option(min=1, help="at most so many", show_default="all")
    ] = None,
    pattern: Annotated[
        str | None, typer.Option(help="only names that match this glob", show_default="all")
    ] = None,
    mirror: Annotated[
        str | None, typer.Option(help="http(s) address that stands in for the archive's own")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=16, help="files under way at once")] = 4,
    patience: Annotated[
        float, typer.Option(min=0.1, help="how long to try without new bytes [s]")
    ] = 120.0,
    show_list: Annotated[
        bool, typer.Option("--list", help="list the files of the set, download nothing")
    ] = False,
    as_json: Json = False,
) -> None:
    """Download published events: resumable, verified; run it again to go on."""
    if name is None:
        _emit_sets(as_json)
        return
    from mlpf_stream.download import DownloadRequest, Patience

    request = DownloadRequest(
        name=name,
        out=out or "",
        files=files,
        pattern=pattern,
        mirror=mirror,
        workers=workers,
        patience=Patience(seconds=patience, silence=min(patience, SILENCE)),
    )
    if show_list:
        _emit_files(request, as_json)
    elif out is None:
        raise ConfigError(f"expected --out FOLDER to download {name!r} to, or --list; found none")
    else:
        _run(request, as_json)


def _run(request: "DownloadRequest", as_json: bool) -> None:
    """Download, say what is there, and leave with 143 where it was stopped."""
    from mlpf_stream.download import download as run
    from mlpf_stream.download import published

    summary = run(request)
    payload: dict[str, object] = {
        "files": list(summary.files),
        "bytes": summary.bytes,
        "fetched": summary.fetched,
        "kept": summary.kept,
        "seconds": summary.seconds,
        "licence": summary.licence,
        "doi": published(request.name).doi,
        "stopped": summary.stopped,
    }
    lines = [
        f"{len(summary.files)} files, {summary.bytes / 1e6:.1f} MB, all verified, in "
        f"{request.out}; fetched {summary.fetched}, there already {summary.kept}",
        f"licence {summary.licence or 'as the archive states'}",
    ]
    if summary.stopped:
        lines.append("stopped; run the same command again to go on")
    emit(payload, lines, as_json)
    if summary.stopped:
        raise typer.Exit(STOPPED)


def _emit_sets(as_json: bool) -> None:
    """Print the published sets."""
    from dataclasses import asdict

    from mlpf_stream.download.catalogue import PUBLISHED

    lines = [f"{each.name:20} {each.title}" for each in PUBLISHED]
    emit({"sets": [asdict(each) for each in PUBLISHED]}, lines, as_json)


def _emit_files(request: "DownloadRequest", as_json: bool) -> None:
    """Print the files of a set."""
    from mlpf_stream.download import list_files

    listing = list_files(request)
    rows: list[dict[str, object]] = [
        {"name": file.name, "bytes": file.bytes, "checksum": file.checksum, "url": file.url}
        for file in listing.files
    ]
    lines = [f"{file.bytes:>14,} {file.checksum} {file.name}" for file in listing.files]
    total = sum(file.bytes for file in listing.files)
    lines.append(
        f"{total:>14,} bytes in {len(rows)} files; licence {listing.licence or 'unstated'}"
    )
    payload: dict[str, object] = {"files": rows, "bytes": total, "licence": listing.licence}
    emit(payload, lines, as_json)
