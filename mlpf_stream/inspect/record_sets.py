"""The records that a Croissant description tells of: classes, features, processes, events.

What is small stands in the description itself, or in the manifest, where a Croissant loader reads
it. Events are described column by column: where each lies, its shape, type and unit.
"""

from collections.abc import Sequence
from typing import Final

from mlpf_stream.columns import MODE_KINDS, SPLITS
from mlpf_stream.manifest import MANIFEST_NAME, KindEntry, Manifest
from mlpf_stream.shards.pack import PackColumn, pack_columns

Tree = dict[str, object]

TYPES: Final = {"int8": "cr:Int8", "int32": "cr:Int32", "float32": "cr:Float32"}
MEANINGS: Final = {
    "class": "index of the class, -1: no truth link at all, never trained on",
    "charge": "charge [e]",
    "momentum": "pt [GeV], eta, sin phi, cos phi, energy [GeV]",
    "particle": "row of the generator particle that contributed most, -1: none",
}
OWNERS: Final = {
    "generator": "generated particles that the detector could see",
    "candidate": "particles that the baseline reconstructed",
}


def record_sets(manifest: Manifest) -> list[Tree]:
    """Return every record set of a dataset."""
    return [
        _classes(manifest),
        _splits(manifest),
        _features(manifest),
        _processes(manifest),
        _sources(),
        _index(),
        _events(manifest),
    ]


def _classes(manifest: Manifest) -> Tree:
    """Return the target classes, inline."""
    counts = manifest.class_counts
    rows = [
        {"classes/index": index, "classes/name": name, "classes/targets": counts[name]}
        for index, name in enumerate(manifest.classes)
    ]
    fields = [
        _field("classes/index", "sc:Integer", "number in the columns called class"),
        _field("classes/name", "sc:Text", "name"),
        _field("classes/targets", "sc:Integer", "elements of this class over all splits"),
    ]
    return {
        **_set("classes", "target classes", fields, key="classes/index"),
        "dataType": "sc:Enumeration",
        "data": rows,
    }


def _splits(manifest: Manifest) -> Tree:
    """Return the splits, inline."""
    rows = [{"splits/name": name, "splits/events": manifest.splits.get(name, 0)} for name in SPLITS]
    fields = [
        _field("splits/name", "sc:Text", "name"),
        _field("splits/events", "sc:Integer", "events"),
    ]
    text = "splits by a hash of the event key; events of a process of role ood are all test"
    return {
        **_set("splits", text, fields, key="splits/name"),
        "dataType": "cr:Split",
        "data": rows,
    }


def _features(manifest: Manifest) -> Tree:
    """Return the features of every element kind in stored order, inline."""
    rows = [
        {
            "features/kind": kind.name,
            "features/position": position,
            "features/name": feature.name,
            "features/unit": feature.unit,
        }
        for kind in manifest.kinds
        for position, feature in enumerate(kind.features)
    ]
    fields = [
        _field("features/kind", "sc:Text", "element kind: the column of the events it belongs to"),
        _field("features/position", "sc:Integer", "place in the last dimension of that column"),
        _field("features/name", "sc:Text", "name"),
        _field("features/unit", "sc:Text", "unit, 1: none"),
    ]
    return {
        **_set("features", "input features of the elements", fields),
        "key": [{"@id": "features/kind"}, {"@id": "features/position"}],
        "data": rows,
    }


def _processes(manifest: Manifest) -> Tree:
    """Return the physics processes, inline."""
    types = {"name": "sc:Text", "role": "sc:Text", "weight": "sc:Float", "events": "sc:Integer"}
    rows = [
        {f"processes/{column}": getattr(part, column) for column in types}
        for part in manifest.processes
    ]
    meanings = {
        "name": "name",
        "role": "train, or ood: never trained on",
        "weight": "how often each event is seen in an epoch",
        "events": "events",
    }
    fields = [
        _field(f"processes/{column}", types[column], text) for column, text in meanings.items()
    ]
    return {**_set("processes", "physics processes", fields, key="processes/name"), "data": rows}


def _sources() -> Tree:
    """Return the source files: a loader reads them from the manifest, there may be thousands.

    The only record set of the manifest: mlcroissant reads a JSON file as one table.
    """
    columns = {
        "name": ("sc:Text", "name"),
        "file_id": ("sc:Text", "identity: a digest of size, first and last MiB"),
        "bytes": ("sc:Integer", "size [bytes]"),
        "process": ("sc:Text", "physics process"),
        "events": ("sc:Integer", "events that came into the dataset"),
    }
    fields = [
        {
            **_field(f"sources/{column}", kind, text),
            "source": {
                "fileObject": {"@id": MANIFEST_NAME},
                "extract": {"jsonPath": f"$.files[*].{column}"},
            },
        }
        for column, (kind, text) in columns.items()
    ]
    return _set("sources", "EDM4HEP files that the events come from", fields, key="sources/file_id")


def _index() -> Tree:
    """Return the rows of the index: one per event."""
    columns = {
        "key": ("sc:Text", "PROCESS-FILEID-ENTRY"),
        "process": ("sc:Text", "physics process"),
        "split": ("sc:Text", "train, valid or test"),
        "length": ("cr:Int32", "elements of the event"),
        "particles": ("cr:Int32", "target particles of the event"),
    }
    fields = [
        {**_field(f"index/{name}", kind, text), "source": _column("index-files", name)}
        for name, (kind, text) in columns.items()
    ]
    return _set("index", "one row per event: what it is and how long", fields, key="index/key")


def _events(manifest: Manifest) -> Tree:
    """Return the columns of the packs: one row per event, lists over elements and particles."""
    fields: list[Tree] = [
        {
            **_field("events/key", "sc:Text", "PROCESS-FILEID-ENTRY, as in the index"),
            "source": _column("packs", "key"),
        }
    ]
    kinds = {kind.name: kind for kind in manifest.kinds}
    for column in pack_columns(MODE_KINDS[manifest.mode]):
        shape = "-1" if column.width == 1 else f"-1,{column.width}"
        fields.append(
            {
                **_field(f"events/{column.name}", TYPES[column.dtype], _meaning(column, kinds)),
                "isArray": True,
                "arrayShape": shape,
                "source": _column("packs", column.name),
            }
        )
    text = "one row per event, in packs of events of like length, one process and one split"
    return _set("events", text, fields, key="events/key")


def _meaning(column: PackColumn, kinds: dict[str, KindEntry]) -> str:
    """Say what a column of a pack holds."""
    if column.name in kinds:
        names = (f"{each.name} [{each.unit}]" for each in kinds[column.name].features)
        return f"features of each {column.name}: {', '.join(names)}"
    owner, _, what = column.name.rpartition("_")
    return f"{OWNERS.get(owner, f'target of each {owner}')}: {MEANINGS[what]}"


def _set(name: str, text: str, fields: Sequence[Tree], key: str | None = None) -> Tree:
    """Return a record set."""
    found: Tree = {"@type": "cr:RecordSet", "@id": name, "name": name, "description": text}
    if key is not None:
        found["key"] = {"@id": key}
    return {**found, "field": list(fields)}


def _field(name: str, kind: str, text: str) -> Tree:
    """Return a field."""
    return {
        "@type": "cr:Field",
        "@id": name,
        "name": name.rpartition("/")[2],
        "description": text,
        "dataType": kind,
    }


def _column(file_set: str, name: str) -> Tree:
    """Return the source of a field: a column of a set of files."""
    return {"fileSet": {"@id": file_set}, "extract": {"column": name}}
