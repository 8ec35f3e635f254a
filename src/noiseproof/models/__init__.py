"""Networks as typed data that builds them. A new one is a schema in its own file and a name here."""

from typing import Annotated

from pydantic import Field

from noiseproof.models.cnn import CNN4, CNN8
from noiseproof.models.factory import Factory
from noiseproof.models.initialization import build_initialized
from noiseproof.models.mlp import MLP
from noiseproof.models.network import Network
from noiseproof.models.randomness import global_randomness
from noiseproof.models.resnet import ResNet18, ResNet34

Model = Annotated[MLP | ResNet18 | ResNet34 | CNN4 | CNN8 | Factory, Field(discriminator="name")]
"""Any network, told apart by its ``name``."""

__all__ = [
    "CNN4",
    "CNN8",
    "MLP",
    "Factory",
    "Model",
    "Network",
    "ResNet18",
    "ResNet34",
    "build_initialized",
    "global_randomness",
]
