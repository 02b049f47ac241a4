"""A window: the events that one rank takes from the packs that are read together.

A `WindowRequest` holds everything that reading needs, so that whoever reads (a thread of the rank,
a task on another node) needs the store and nothing else, and reading twice gives the same bytes.
"""

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from mlpf_stream.columns import ElementKind
from mlpf_stream.event import I64, Events, Particles, concatenate_events
from mlpf_stream.shards.index import DatasetIndex, PackPlace, pack_place
from mlpf_stream.shards.reader import read_place
from mlpf_stream.storage import Store
from mlpf_stream.stream.rank_plan import RankPlan


@dataclass(frozen=True, slots=True)
class WindowRequest:
    """Which events to read: event `i` is row `row[i]` of pack `packs[pack[i]]`."""

    epoch: int
    number: int
    packs: tuple[PackPlace, ...]
    pack: I64
    row: I64
    keys: tuple[str, ...]

    def encode(self) -> bytes:
        """Return the request as JSON."""
        tree = {
            "epoch": self.epoch,
            "number": self.number,
            "packs": [asdict(place) for place in self.packs],
            "pack": self.pack.tolist(),
            "row": self.row.tolist(),
            "keys": self.keys,
        }
        return json.dumps(tree).encode()

    @classmethod
    def decode(cls, data: bytes) -> "WindowRequest":
        """Return the request that `encode` wrote."""
        tree = json.loads(data)
        return cls(
            tree["epoch"],
            tree["number"],
            tuple(pack_place(raw) for raw in tree["packs"]),
            np.array(tree["pack"], np.int64),
            np.array(tree["row"], np.int64),
            tuple(tree["keys"]),
        )


@dataclass(frozen=True, slots=True)
class Window:
    """The requested events in memory, in the requested order; without particles."""

    epoch: int
    number: int
    events: Events


WindowReader = Callable[[Iterable[WindowRequest]], Generator[Window, None, None]]
"""An engine: requests in, windows out in the same order, however it moves the bytes."""


def window_requests(index: DatasetIndex, plans: Iterable[RankPlan]) -> Iterator[WindowRequest]:
    """Yield the windows that a rank needs, in the order of their use."""
    for rank in plans:
        for number in rank.windows.tolist():
            events = rank.window_events(number)
            packs, pack = np.unique(index.pack[events], return_inverse=True)
            yield WindowRequest(
                rank.plan.spec.epoch,
                number,
                tuple(index.packs[p] for p in packs.tolist()),
                pack.astype(np.int64),
                index.row[events],
                tuple(index.keys[event] for event in events.tolist()),
            )


def read_window(store: Store, kinds: Sequence[ElementKind], request: WindowRequest) -> Events:
    """Read the requested events; every byte of their packs is verified.

    Raises:
        ShardError: a pack's bytes differ from what the index promises.
        MissingDataError: a shard is not there.
    """
    parts, taken = [], []
    for number, place in enumerate(request.packs):
        own = np.flatnonzero(request.pack == number)
        # The request knows the keys that matter; those of the other events are never looked at.
        pack = read_place(store, place, ("",) * place.entry.events, kinds)
        nothing = Particles.empty(len(pack))
        elements = replace(pack, generator=nothing, candidates=nothing)
        parts.append(elements.select(request.row[own]))
        taken.append(own)
    back = np.argsort(np.concatenate(taken)).astype(np.int64)
    return replace(concatenate_events(parts).select(back), keys=request.keys)
