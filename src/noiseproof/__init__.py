"""noiseproof: losses for PyTorch that tolerate wrong labels, and the bench that proves them.

``noiseproof.losses``, ``noiseproof.noise`` and the rest, and `noiseproof.certify`, are imported when first
used, so that ``import noiseproof`` stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noiseproof.certificates import certify

__version__ = "0.1.0"

_SUBPACKAGES = (
    "certificates",
    "cluster",
    "data",
    "estimator",
    "losses",
    "models",
    "noise",
    "report",
    "study",
    "tracking",
    "training",
    "tuning",
)

__all__ = ["__version__", "certify", *_SUBPACKAGES]


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"noiseproof.{name}")
    if name == "certify":
        return importlib.import_module("noiseproof.certificates").certify
    raise AttributeError(f"module 'noiseproof' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
