"""Shuffling by hashes: order is made by sorting 64-bit hashes, not by a random generator.

So an order depends on no library's version, and the hash of one value on no other value.
"""

import numpy as np
import numpy.typing as npt

from mlpf_stream.event import F64, I64

U64 = npt.NDArray[np.uint64]


def hash_of(values: I64 | U64, *salts: int) -> U64:
    """Return a 64-bit hash of each value: order by it to shuffle.

    Source: SplitMix64 of Steele, Lea and Flood, "Fast splittable pseudorandom number generators"
    (2014); each salt is folded in by one more round.
    """
    mixed = _splitmix(values.astype(np.uint64))
    for salt in salts:
        mixed = _splitmix(mixed ^ _splitmix(np.array([salt], np.int64).astype(np.uint64)))
    return mixed


def unit_of(hashes: U64) -> F64:
    """Return hashes as numbers in [0, 1)."""
    return np.asarray((hashes >> np.uint64(11)).astype(np.float64) / 2.0**53)


def _splitmix(z: U64) -> U64:
    with np.errstate(over="ignore"):
        z = z + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
