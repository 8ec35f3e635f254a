"""Label noise: transition matrices, class maps, seeded corruption, and an audit of what was achieved.

>>> from noiseproof import noise
>>> T = noise.asymmetric(10, 0.4, noise.class_map("digits"))
>>> noise.corrupt([7, 7, 7, 7, 7], T, seed=0).count(1)
2
"""

from noiseproof.noise.audit import Audit, audit
from noiseproof.noise.class_maps import CLASS_MAPS, class_map
from noiseproof.noise.corruption import corrupt
from noiseproof.noise.instance import instance_dependent
from noiseproof.noise.text import GIVEN, HUMAN, HUMAN_LABELS, INSTANCE, KINDS, MATRICES, Noise, parse
from noiseproof.noise.transition import asymmetric, check_transition_matrix, pairflip, symmetric

__all__ = [
    "CLASS_MAPS",
    "GIVEN",
    "HUMAN",
    "HUMAN_LABELS",
    "INSTANCE",
    "KINDS",
    "MATRICES",
    "Audit",
    "Noise",
    "asymmetric",
    "audit",
    "check_transition_matrix",
    "class_map",
    "corrupt",
    "instance_dependent",
    "pairflip",
    "parse",
    "symmetric",
]
