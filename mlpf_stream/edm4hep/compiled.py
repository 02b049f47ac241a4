"""Loops over rows that are compiled: one pass where numpy would take many.

Compiled code is kept beside its source, or in the user's cache where that cannot be written.
"""

from functools import partial
from typing import Final

from mlpf_stream.errors import MissingExtraError

try:
    from numba import njit
except ImportError as error:  # pragma: no cover - the extra is installed in tests
    raise MissingExtraError("numba", "convert") from error

compiled: Final = partial(njit, cache=True, error_model="numpy")
"""Compile a function of arrays and numbers; as in numpy, dividing by zero is no error."""
