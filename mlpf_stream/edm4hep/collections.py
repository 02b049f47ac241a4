"""Event collections by canonical leaf name: what a file holds, before any physics.

`reader` makes them from ROOT, `writer` stores them, `simulate` makes them from scratch;
`elements` and `targets` read them. Canonical names are those of the newest EDM4HEP schema, such as
`PandoraClusters.iPhi` or `_SiTracksMCTruthLink_from.index`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from mlpf_stream.errors import SchemaError
from mlpf_stream.event import Jagged


class Contents(Protocol):
    """What is stored somewhere: leaves by canonical name, and collection ids."""

    @property
    def ids(self) -> Mapping[str, int]:
        """Id of every collection name."""

    def __contains__(self, leaf: str) -> bool:
        """Return whether a leaf is stored."""


@dataclass(frozen=True, slots=True)
class Collections:
    """Collections of some consecutive events of one source.

    `leaves` holds one `Jagged` of `events` events per canonical leaf name; `ids` the collection id
    of every collection name of this source (ids differ between files).
    """

    source: str
    events: int
    leaves: Mapping[str, Jagged]
    ids: Mapping[str, int]

    def __contains__(self, leaf: str) -> bool:
        return leaf in self.leaves

    def __getitem__(self, leaf: str) -> Jagged:
        if leaf not in self.leaves:
            msg = (
                f"expected the leaf {leaf!r}, found none in {self.source!r}; "
                "this needs a file after full reconstruction (tracks, clusters, truth links)"
            )
            raise SchemaError(msg)
        return self.leaves[leaf]

    def part(self, start: int, stop: int) -> "Collections":
        """Return the events from `start` up to `stop`, without copying their rows."""
        if (start, stop) == (0, self.events):
            return self
        leaves = {name: rows.part(start, stop) for name, rows in self.leaves.items()}
        return Collections(self.source, stop - start, leaves, self.ids)
