"""Every named loss: add a new one to the tuple, and it is parsed, listed and tested."""

from __future__ import annotations

from noiseproof.losses.base import Loss
from noiseproof.losses.cross_entropy import CrossEntropy, NormalizedCrossEntropy
from noiseproof.losses.focal import FocalLoss, NormalizedFocalLoss
from noiseproof.losses.mean_absolute_error import MeanAbsoluteError, NormalizedMeanAbsoluteError
from noiseproof.losses.reverse_cross_entropy import NormalizedReverseCrossEntropy, ReverseCrossEntropy

CATALOGUE: dict[str, type[Loss]] = {
    loss.name: loss
    for loss in (
        CrossEntropy,
        FocalLoss,
        MeanAbsoluteError,
        ReverseCrossEntropy,
        NormalizedCrossEntropy,
        NormalizedFocalLoss,
        NormalizedMeanAbsoluteError,
        NormalizedReverseCrossEntropy,
    )
}
"""Loss classes by the name that loss texts use."""
