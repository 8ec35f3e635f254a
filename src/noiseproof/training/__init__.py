"""Training: the recipe, two engines that train many runs at once, and their checkpoints."""

from noiseproof.training.base import Run, Training
from noiseproof.training.checkpoint import Checkpoint
from noiseproof.training.concurrency import OnTrial, Plan, free_memory, plan
from noiseproof.training.concurrent import ConcurrentTraining, Way
from noiseproof.training.engine import StackedTraining, evenly, largest_stack
from noiseproof.training.history import History
from noiseproof.training.recipe import Recipe

__all__ = [
    "Checkpoint",
    "ConcurrentTraining",
    "History",
    "OnTrial",
    "Plan",
    "Recipe",
    "Run",
    "StackedTraining",
    "Training",
    "Way",
    "evenly",
    "free_memory",
    "largest_stack",
    "plan",
]
