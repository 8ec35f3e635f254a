"""Certificates: what a loss is, by computation instead of by claim.

>>> from noiseproof.certificates import certify
>>> certify("mae", num_classes=3).symmetric_rate
0.666...
"""

from noiseproof.certificates.certificate import Certificate, certify
from noiseproof.certificates.claims import refuted_claims
from noiseproof.certificates.experiment import Experiment
from noiseproof.certificates.extremes import Extreme
from noiseproof.certificates.gradients import Gradients

__all__ = ["Certificate", "Experiment", "Extreme", "Gradients", "certify", "refuted_claims"]
