"""Tuning: the numbers in a loss, chosen by the noisy labels alone."""

from noiseproof.tuning.proposals import to_optuna
from noiseproof.tuning.ranges import Range
from noiseproof.tuning.report import Findings, find, write_report
from noiseproof.tuning.search import Search
from noiseproof.tuning.trial import Trial
from noiseproof.tuning.tune import tune

__all__ = ["Findings", "Range", "Search", "Trial", "find", "to_optuna", "tune", "write_report"]
