"""Losses that tolerate wrong labels, as modules, functions and text.

>>> import torch
>>> from noiseproof import losses
>>> loss = losses.parse("nce + mae")
>>> loss(torch.zeros(4, 10), torch.tensor([0, 1, 2, 3])).item()
1.899...
"""

from noiseproof.losses import functional
from noiseproof.losses.active_passive import ActivePassiveLoss, WeightedSum
from noiseproof.losses.base import ClasswiseLoss, Loss, Properties
from noiseproof.losses.catalogue import CATALOGUE
from noiseproof.losses.cross_entropy import CrossEntropy, NormalizedCrossEntropy
from noiseproof.losses.focal import FocalLoss, NormalizedFocalLoss
from noiseproof.losses.mean_absolute_error import MeanAbsoluteError, NormalizedMeanAbsoluteError
from noiseproof.losses.normalization import NormalizedLoss
from noiseproof.losses.reverse_cross_entropy import NormalizedReverseCrossEntropy, ReverseCrossEntropy
from noiseproof.losses.text import parse

__all__ = [
    "CATALOGUE",
    "ActivePassiveLoss",
    "ClasswiseLoss",
    "CrossEntropy",
    "FocalLoss",
    "Loss",
    "MeanAbsoluteError",
    "NormalizedCrossEntropy",
    "NormalizedFocalLoss",
    "NormalizedLoss",
    "NormalizedMeanAbsoluteError",
    "NormalizedReverseCrossEntropy",
    "Properties",
    "ReverseCrossEntropy",
    "WeightedSum",
    "functional",
    "parse",
]
