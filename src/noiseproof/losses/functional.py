"""The losses as functions, each a drop-in for `torch.nn.functional.cross_entropy`."""

from noiseproof.losses.cross_entropy import cross_entropy, normalized_cross_entropy
from noiseproof.losses.focal import focal_loss, normalized_focal_loss
from noiseproof.losses.mean_absolute_error import mean_absolute_error, normalized_mean_absolute_error
from noiseproof.losses.reverse_cross_entropy import normalized_reverse_cross_entropy, reverse_cross_entropy

__all__ = [
    "cross_entropy",
    "focal_loss",
    "mean_absolute_error",
    "normalized_cross_entropy",
    "normalized_focal_loss",
    "normalized_mean_absolute_error",
    "normalized_reverse_cross_entropy",
    "reverse_cross_entropy",
]
