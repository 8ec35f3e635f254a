"""noiseproof: losses for PyTorch that tolerate wrong labels, and the bench that proves them.

``noiseproof.losses``, ``noiseproof.noise`` and the rest are imported when first used, so that
``import noiseproof`` stays quick.
"""

from __future__ import annotations

import importlib
from types import ModuleType

__version__ = "0.1.0"

_SUBPACKAGES = ("data", "losses", "models", "noise", "report", "study", "training")

__all__ = ["__version__", *_SUBPACKAGES]


def __getattr__(name: str) -> ModuleType:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"noiseproof.{name}")
    raise AttributeError(f"module 'noiseproof' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
