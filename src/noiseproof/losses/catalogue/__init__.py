"""Every named loss: add a new one to the tuple, and it is parsed, listed, certified and tested."""

from __future__ import annotations

from noiseproof.losses.base import Loss
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
        GeneralizedCrossEntropy,
        NormalizedGeneralizedCrossEntropy,
        SymmetricCrossEntropy,
        LabelSmoothing,
        JensenShannon,
        TaylorCrossEntropy,
        AsymmetricUnhingedLoss,
        AsymmetricGeneralizedCrossEntropy,
        AsymmetricExponentialLoss,
        NormalizedNegativeCrossEntropy,
        NormalizedNegativeFocalLoss,
        EpsilonSoftmaxCrossEntropy,
        EpsilonSoftmaxFocalLoss,
        BitemperedLogisticLoss,
        NegativeLearning,
    )
}
"""Loss classes by the name that loss texts use."""
