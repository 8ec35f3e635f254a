"""The losses as functions, each a drop-in for `torch.nn.functional.cross_entropy`."""

from noiseproof.losses.catalogue.asymmetric import (
    asymmetric_exponential_loss,
    asymmetric_generalized_cross_entropy,
    asymmetric_unhinged_loss,
)
from noiseproof.losses.catalogue.bitempered import bitempered_logistic_loss
from noiseproof.losses.catalogue.cross_entropy import cross_entropy, normalized_cross_entropy
from noiseproof.losses.catalogue.epsilon_softmax import (
    epsilon_softmax_cross_entropy,
    epsilon_softmax_focal_loss,
)
from noiseproof.losses.catalogue.focal import focal_loss, normalized_focal_loss
from noiseproof.losses.catalogue.generalized_cross_entropy import (
    generalized_cross_entropy,
    normalized_generalized_cross_entropy,
)
from noiseproof.losses.catalogue.jensen_shannon import jensen_shannon
from noiseproof.losses.catalogue.label_smoothing import label_smoothing
from noiseproof.losses.catalogue.mean_absolute_error import (
    mean_absolute_error,
    normalized_mean_absolute_error,
)
from noiseproof.losses.catalogue.negative_learning import negative_learning
from noiseproof.losses.catalogue.normalized_negative import (
    normalized_negative_cross_entropy,
    normalized_negative_focal_loss,
)
from noiseproof.losses.catalogue.reverse_cross_entropy import (
    normalized_reverse_cross_entropy,
    reverse_cross_entropy,
)
from noiseproof.losses.catalogue.symmetric_cross_entropy import symmetric_cross_entropy
from noiseproof.losses.catalogue.taylor_cross_entropy import taylor_cross_entropy

__all__ = [
    "asymmetric_exponential_loss",
    "asymmetric_generalized_cross_entropy",
    "asymmetric_unhinged_loss",
    "bitempered_logistic_loss",
    "cross_entropy",
    "epsilon_softmax_cross_entropy",
    "epsilon_softmax_focal_loss",
    "focal_loss",
    "generalized_cross_entropy",
    "jensen_shannon",
    "label_smoothing",
    "mean_absolute_error",
    "negative_learning",
    "normalized_cross_entropy",
    "normalized_focal_loss",
    "normalized_generalized_cross_entropy",
    "normalized_mean_absolute_error",
    "normalized_negative_cross_entropy",
    "normalized_negative_focal_loss",
    "normalized_reverse_cross_entropy",
    "reverse_cross_entropy",
    "symmetric_cross_entropy",
    "taylor_cross_entropy",
]
