"""Arrays out of pickles that nobody vouches for."""

from __future__ import annotations

import io
import pickle
from typing import Any


def unpickle_arrays(raw: bytes) -> Any:
    """Unpickle arrays and plain values; refuse a pickle that asks for anything else, and so could run it.

    Raises `pickle.UnpicklingError` for that, and whatever a damaged pickle raises.
    """
    return _ArrayUnpickler(io.BytesIO(raw), encoding="latin1").load()


class _ArrayUnpickler(pickle.Unpickler):
    ALLOWED = frozenset(
        (module, name)
        for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
        for name in ("_reconstruct", "ndarray", "dtype")
    ) | {("_codecs", "encode")}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a data file")
        # the old module path still works in numpy 2, but warns
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)
