"""Certificates: what a loss is, by computation instead of by claim.

>>> from noiseproof.certificates import certify
>>> certify("mae", num_classes=3).symmetric_rate
0.666...
"""

from noiseproof.certificates.certificate import Certificate, certify
from noiseproof.certificates.claims import refuted_claims

__all__ = ["Certificate", "certify", "refuted_claims"]
