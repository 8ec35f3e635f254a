"""Any network, told apart by its name."""

from typing import Annotated

from pydantic import Field

from noiseproof.models.cnn import CNN4, CNN8
from noiseproof.models.factory import Factory
from noiseproof.models.mlp import MLP
from noiseproof.models.resnet import ResNet18, ResNet34

Model = Annotated[MLP | ResNet18 | ResNet34 | CNN4 | CNN8 | Factory, Field(discriminator="name")]
"""Any network, told apart by its ``name``."""
