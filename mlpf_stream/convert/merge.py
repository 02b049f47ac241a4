"""Parts of a manifest into one: counts add up, statistics merge as if all rows were seen at once.

Source: pairwise update of Chan, Golub and LeVeque, see `shards.statistics`.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from mlpf_stream.columns import SPLITS
from mlpf_stream.errors import ConfigError, DataError
from mlpf_stream.manifest import FeatureEntry, KindEntry, Manifest, ProcessEntry, TruthEntry


def merge_parts(parts: Sequence[Manifest]) -> Manifest:
    """Return one manifest of all parts, in their order; what is said in words is the first's.

    Raises:
        ConfigError: a process has two roles.
        DataError: the parts have different magnetic fields.
    """
    first = parts[0]
    check_fields({(round(part.field, 2), _place(part)) for part in parts})
    truth_sources = {part.truth_source for part in parts}
    kinds = zip(*(part.kinds for part in parts), strict=True)
    return first.model_copy(
        update={
            "kinds": tuple(_merge_kinds(same) for same in kinds),
            "processes": _merge_processes(parts),
            "splits": {name: sum(part.splits[name] for part in parts) for name in SPLITS},
            "events": sum(part.events for part in parts),
            "elements": sum(part.elements for part in parts),
            "skipped": dict(sorted(_summed(part.skipped for part in parts).items())),
            "truth": _merge_truth([part.truth for part in parts]),
            "truth_source": "hits" if truth_sources == {"hits"} else "clusters",
            "missing_features": tuple(sorted({n for p in parts for n in p.missing_features})),
            "shards": tuple(shard for part in parts for shard in part.shards),
            "files": tuple(file for part in parts for file in part.files),
        }
    )


def check_fields(fields: set[tuple[float, str]]) -> None:
    """Refuse to mix magnetic fields, given as pairs of a field [T] and where it was found.

    Raises:
        DataError: there is more than one.
    """
    values = sorted({value for value, _ in fields})
    if len(values) > 1:
        place = max(place for value, place in fields if value == values[0])
        msg = (
            f"expected one magnetic field, found {values} T, {values[0]} T at {place!r}; "
            "convert files of different fields into different datasets"
        )
        raise DataError(msg)


def _place(part: Manifest) -> str:
    return part.files[0].name if part.files else "the dataset"


def _summed(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for part in counts:
        total.update(part)
    return total


def _merge_processes(parts: Sequence[Manifest]) -> tuple[ProcessEntry, ...]:
    merged: dict[str, ProcessEntry] = {}
    for part in parts:
        for entry in part.processes:
            known = merged.get(entry.name)
            if known is None:
                merged[entry.name] = entry
                continue
            if known.role != entry.role:
                msg = (
                    f"expected one role for process {entry.name!r} in one dataset, found "
                    f"{known.role!r} and {entry.role!r}; give --role {entry.name}={known.role}"
                )
                raise ConfigError(msg)
            events = known.events + entry.events
            merged[entry.name] = known.model_copy(update={"events": events})
    return tuple(merged[name] for name in sorted(merged))


def _merge_truth(parts: Sequence[TruthEntry]) -> TruthEntry:
    sums = {
        name: sum(getattr(part, name) for part in parts)
        for name in TruthEntry.model_fields
        if name != "dropped_energy"
    }
    return TruthEntry(dropped_energy=round(sum(p.dropped_energy for p in parts), 6), **sums)


def _merge_kinds(parts: Sequence[KindEntry]) -> KindEntry:
    features = zip(*(part.features for part in parts), strict=True)
    targets = _summed(part.targets for part in parts)
    return KindEntry(
        name=parts[0].name,
        features=tuple(_merge_features(same) for same in features),
        elements=sum(part.elements for part in parts),
        targets=dict(targets),
        unlinked=sum(part.unlinked for part in parts),
    )


def _merge_features(parts: Sequence[FeatureEntry]) -> FeatureEntry:
    """Merge the statistics of one feature; parts without rows say nothing."""
    seen = [part for part in parts if part.count]
    if len(seen) < 2:
        return seen[0] if seen else parts[0]
    counts = [part.count for part in seen]
    mean, std = _moments(counts, [p.mean for p in seen], [p.std for p in seen])
    log_mean, log_std = _moments(counts, [p.log_mean for p in seen], [p.log_std for p in seen])
    return FeatureEntry(
        name=parts[0].name,
        unit=parts[0].unit,
        count=sum(counts),
        mean=mean,
        std=std,
        min=min(part.min for part in seen),
        max=max(part.max for part in seen),
        log_mean=log_mean,
        log_std=log_std,
    )


def _moments(
    counts: Sequence[int], means: Sequence[float], stds: Sequence[float]
) -> tuple[float, float]:
    """Return mean and deviation of all rows from those of the parts."""
    count, mean, square = 0, 0.0, 0.0
    for n, part_mean, std in zip(counts, means, stds, strict=True):
        total = count + n
        delta = part_mean - mean
        square += std * std * n + delta * delta * (count * n / total)
        mean += delta * (n / total)
        count = total
    return mean, math.sqrt(square / count)
