"""Losses that tolerate wrong labels, as modules, functions and text.

>>> import torch
>>> from noiseproof import losses
>>> loss = losses.parse("nce + mae")
>>> loss(torch.zeros(4, 10), torch.tensor([0, 1, 2, 3])).item()
1.899...
"""

from noiseproof.losses import functional
from noiseproof.losses.active_passive import ActivePassiveLoss, WeightedSum
from noiseproof.losses.base import ClasswiseLoss, FormulaLoss, Loss, NothingKnownError, Properties
from noiseproof.losses.catalogue import CATALOGUE
from noiseproof.losses.catalogue.asymmetric import (
    AsymmetricExponentialLoss,
    AsymmetricGeneralizedCrossEntropy,
    AsymmetricUnhingedLoss,
)
from noiseproof.losses.catalogue.bitempered import BitemperedLogisticLoss
from noiseproof.losses.catalogue.cross_entropy import CrossEntropy, NormalizedCrossEntropy
from noiseproof.losses.catalogue.epsilon_softmax import EpsilonSoftmaxCrossEntropy, EpsilonSoftmaxFocalLoss
from noiseproof.losses.catalogue.focal import FocalLoss, NormalizedFocalLoss
from noiseproof.losses.catalogue.generalized_cross_entropy import (
    GeneralizedCrossEntropy,
    NormalizedGeneralizedCrossEntropy,
)
from noiseproof.losses.catalogue.jensen_shannon import JensenShannon
from noiseproof.losses.catalogue.label_smoothing import LabelSmoothing
from noiseproof.losses.catalogue.mean_absolute_error import MeanAbsoluteError, NormalizedMeanAbsoluteError
from noiseproof.losses.catalogue.negative_learning import NegativeLearning
from noiseproof.losses.catalogue.normalized_negative import (
    NormalizedNegativeCrossEntropy,
    NormalizedNegativeFocalLoss,
)
from noiseproof.losses.catalogue.reverse_cross_entropy import (
    NormalizedReverseCrossEntropy,
    ReverseCrossEntropy,
)
from noiseproof.losses.catalogue.symmetric_cross_entropy import SymmetricCrossEntropy
from noiseproof.losses.catalogue.taylor_cross_entropy import TaylorCrossEntropy
from noiseproof.losses.correction import BackwardCorrection, ForwardCorrection
from noiseproof.losses.formula import Formula, OnLabel
from noiseproof.losses.normalization import NormalizedLoss
from noiseproof.losses.own import OwnLoss
from noiseproof.losses.presets import Preset, find_preset, preset, presets
from noiseproof.losses.template import Template
from noiseproof.losses.text import parse

__all__ = [
    "CATALOGUE",
    "ActivePassiveLoss",
    "AsymmetricExponentialLoss",
    "AsymmetricGeneralizedCrossEntropy",
    "AsymmetricUnhingedLoss",
    "BackwardCorrection",
    "BitemperedLogisticLoss",
    "ClasswiseLoss",
    "CrossEntropy",
    "EpsilonSoftmaxCrossEntropy",
    "EpsilonSoftmaxFocalLoss",
    "FocalLoss",
    "Formula",
    "FormulaLoss",
    "ForwardCorrection",
    "GeneralizedCrossEntropy",
    "JensenShannon",
    "LabelSmoothing",
    "Loss",
    "MeanAbsoluteError",
    "NegativeLearning",
    "NormalizedCrossEntropy",
    "NormalizedFocalLoss",
    "NormalizedGeneralizedCrossEntropy",
    "NormalizedLoss",
    "NormalizedMeanAbsoluteError",
    "NormalizedNegativeCrossEntropy",
    "NormalizedNegativeFocalLoss",
    "NormalizedReverseCrossEntropy",
    "NothingKnownError",
    "OnLabel",
    "OwnLoss",
    "Preset",
    "Properties",
    "ReverseCrossEntropy",
    "SymmetricCrossEntropy",
    "TaylorCrossEntropy",
    "Template",
    "WeightedSum",
    "find_preset",
    "functional",
    "parse",
    "preset",
    "presets",
]
