"""Training: the recipe, the engine that trains many runs as one program, and its checkpoints."""

from noiseproof.training.checkpoint import Checkpoint
from noiseproof.training.engine import Run, StackedTraining, stack_sizes
from noiseproof.training.history import History
from noiseproof.training.recipe import Recipe

__all__ = ["Checkpoint", "History", "Recipe", "Run", "StackedTraining", "stack_sizes"]
