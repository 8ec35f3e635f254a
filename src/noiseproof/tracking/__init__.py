"""Trackers: what shows a run's epochs elsewhere while it trains."""

from noiseproof.tracking.tensorboard import TensorBoard

__all__ = ["TensorBoard"]
