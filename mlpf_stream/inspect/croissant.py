"""The Croissant description of a dataset: JSON-LD that catalogues and loaders understand.

Everything in it comes from the manifest: same manifest, same description. What the manifest does
not know (the page of the dataset, the date of its publication) is left out, never invented.

Source: Croissant format specification 1.1 and its RAI vocabulary (docs.mlcommons.org/croissant).
"""

import hashlib
import re
from typing import Final

from mlpf_stream.errors import MissingDataError
from mlpf_stream.inspect.record_sets import record_sets
from mlpf_stream.manifest import MANIFEST_NAME, Manifest
from mlpf_stream.shards.index import index_path, shard_path
from mlpf_stream.storage import open_store

Tree = dict[str, object]

CONFORMS_TO: Final = "http://mlcommons.org/croissant/1.1"
MOST_SHARDS: Final = 1000
"""A dataset of more shards names them by a pattern; their digests are then in the manifest only."""
TAR: Final = "application/x-tar"
ARROW: Final = "application/vnd.apache.arrow.file"

# Source: the context that the specification prescribes, appendix 1; `mlpf` is our extension.
CONTEXT: Final[Tree] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "mlpf": "urn:mlpf-stream:",
    "mlpf:generators": {"@id": "mlpf:generators", "@type": "@json"},
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}

# Source: identifiers of spdx.org/licenses that data are published under.
SPDX: Final = (
    *("CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0"),
    *("CDLA-Permissive-2.0", "ODbL-1.0", "ODC-By-1.0", "PDDL-1.0", "Apache-2.0", "MIT"),
    *("BSD-3-Clause", "GPL-2.0-or-later", "GPL-3.0-or-later"),
)
_GROUP: Final = re.compile(
    r"\b(collaboration|consortium|experiment|group|institute|laboratory|team|university|CERN)\b",
    re.IGNORECASE,
)
_DOI: Final = re.compile(r"^(?:https?://(?:dx\.)?doi\.org/|doi:)?(10\.\d{4,9}/\S+)$")


def describe_dataset(url: str) -> Tree:
    """Return the description of the dataset at `url`.

    Raises:
        MissingDataError: no dataset there. SchemaError: its manifest is not valid.
    """
    store = open_store(url)
    try:
        text = store.read(MANIFEST_NAME)
    except MissingDataError as error:
        msg = (
            f"expected a dataset ({MANIFEST_NAME}) to describe, found none at {url!r}; "
            "check the path, or make one with 'mlpf convert'"
        )
        raise MissingDataError(msg) from error
    return describe(Manifest.from_json(text, f"{url}/{MANIFEST_NAME}"), text)


def describe(manifest: Manifest, text: bytes) -> Tree:
    """Return the description of a dataset whose manifest reads `text`."""
    links = [_link(doi) for doi in manifest.sources_doi]
    creators = [_creator(name) for name in manifest.creators]
    optional: Tree = {
        "creator": creators,
        "isBasedOn": links,
        "mlpf:generators": _generators(manifest),
        "rai:dataLimitations": _limitations(manifest),
    }
    return {
        "@context": dict(CONTEXT),
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": manifest.title,
        "description": _description(manifest),
        "license": _license(manifest.licence),
        "version": f"{manifest.version}.0.0",
        "citeAs": _citation(manifest, links),
        "keywords": ["particle flow", "EDM4HEP", "high-energy physics", manifest.detector],
        "isLiveDataset": False,
        **{name: value for name, value in optional.items() if value},
        "mlpf:digest": manifest.digest,
        "rai:dataCollection": _collection(manifest),
        "rai:dataPreprocessingProtocol": [_truth(manifest)],
        "distribution": _distribution(manifest, text),
        "recordSet": record_sets(manifest),
    }


def _description(manifest: Manifest) -> str:
    """Say what the dataset holds, and how much of a simulation it is."""
    kinds = " and ".join(f"{kind.elements} {kind.name}s" for kind in manifest.kinds)
    processes = ", ".join(
        f"{part.name} ({part.events} events, role {part.role})" for part in manifest.processes
    )
    return (
        f"{manifest.events} electron-positron collisions in the {manifest.detector} detector "
        f"({manifest.field:g} T), each with the elements that were reconstructed ({kinds} in all), "
        f"the generated particle of each element as target, and baseline candidates. "
        f"{_fidelity(manifest)} Processes: {processes}."
    )


def _fidelity(manifest: Manifest) -> str:
    """Say which detector simulation made the events, as far as the source files tell."""
    told = [str(file.generator.get("simulation", "")) for file in manifest.files]
    fast = sum(text.startswith("fast") for text in told)
    if not fast:
        return "The source files do not say which detector simulation made them."
    if fast < len(told):
        return f"{fast} of {len(told)} source files are fast simulation, not full simulation."
    return "All events are fast simulation, not full simulation of the detector."


def _limitations(manifest: Manifest) -> list[str]:
    """Return what the events must not be used for, or lack."""
    found = []
    if any(str(file.generator.get("simulation", "")).startswith("fast") for file in manifest.files):
        found.append("Fast simulation: its resolutions are not those of a detector.")
    if manifest.missing_features:
        names = ", ".join(manifest.missing_features)
        found.append(f"Stored as zero because the source files lack them: {names}.")
    if manifest.skipped:
        counts = ", ".join(f"{reason}: {count}" for reason, count in manifest.skipped.items())
        found.append(f"Events left out by reason: {counts}.")
    return found


def _collection(manifest: Manifest) -> str:
    """Say where the events come from."""
    told = {str(file.generator.get("generator", "")) for file in manifest.files} - {""}
    names = f" ({', '.join(sorted(told))})" if told else ""
    return (
        f"Simulated events of {len(manifest.files)} EDM4HEP files{names}; nothing in them is "
        "measured or personal."
    )


def _truth(manifest: Manifest) -> str:
    """Say how the targets came about."""
    if manifest.truth_source == "none":
        return "The source files hold no truth links: no element has a target."
    return (
        f"Each element got its target particle by the truth links of its {manifest.truth_source}; "
        "features are stored raw, in GeV, mm, ns and rad."
    )


def _generators(manifest: Manifest) -> list[Tree]:
    """Return the generator settings of every source file that names them."""
    return [
        {"file": file.name, "file_id": file.file_id, **file.generator}
        for file in manifest.files
        if file.generator
    ]


def _license(licence: str) -> str:
    """Return the URL of a licence that SPDX knows, else the licence as it was given."""
    known = {name.lower(): name for name in SPDX}.get(licence.strip().lower())
    return f"https://spdx.org/licenses/{known}.html" if known else licence


def _link(doi: str) -> str:
    """Return the URL of a DOI; anything else as it was given."""
    match = _DOI.match(doi.strip())
    return f"https://doi.org/{match.group(1)}" if match else doi


def _creator(name: str) -> Tree:
    """Return a creator; one that calls itself a collaboration or the like is no person."""
    return {"@type": "sc:Organization" if _GROUP.search(name) else "sc:Person", "name": name}


def _citation(manifest: Manifest, links: list[str]) -> str:
    """Return how to cite the dataset, as BibTeX, with what is known and no more."""
    parts = {
        "title": manifest.title,
        "author": " and ".join(manifest.creators),
        "version": str(manifest.version),
        "note": f"derived from {', '.join(links)}" if links else "",
    }
    body = ", ".join(f"{key} = {{{value}}}" for key, value in parts.items() if value)
    return f"@misc{{mlpf_{manifest.digest}, {body}}}"


def _distribution(manifest: Manifest, text: bytes) -> list[Tree]:
    """Return every file of the dataset, and the packs inside the shards."""
    files = [
        _file(MANIFEST_NAME, len(text), hashlib.sha256(text).hexdigest(), "application/json"),
    ]
    if len(manifest.shards) > MOST_SHARDS:
        where: list[Tree] = [{"@id": "shard-files"}]
        files += [
            _pattern("shard-files", shard_path("*"), TAR),
            _pattern("index-files", index_path("*"), ARROW),
        ]
    else:
        where = [{"@id": shard_path(shard.name)} for shard in manifest.shards]
        for shard in manifest.shards:
            index = index_path(shard.name)
            files.append(_file(shard_path(shard.name), shard.bytes, shard.sha256, TAR))
            files.append(_file(index, shard.index_bytes, shard.index_sha256, ARROW))
        files.append(_pattern("index-files", index_path("*"), ARROW))
    files.append({**_pattern("packs", "*.events.arrow", ARROW), "containedIn": where})
    return files


def _file(name: str, size: int, sha256: str, encoding: str) -> Tree:
    """Return one file; its name is its place relative to the description."""
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{size} B",
        "encodingFormat": encoding,
        "sha256": sha256,
    }


def _pattern(name: str, includes: str, encoding: str) -> Tree:
    """Return all files whose place is of a pattern."""
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "encodingFormat": encoding,
        "includes": includes,
    }
