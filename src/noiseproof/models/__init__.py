"""Networks as typed data that builds them. A new one is a schema in its own file and a name here."""

from typing import Annotated

from pydantic import Field

from noiseproof.models.initialization import build_initialized
from noiseproof.models.mlp import MLP
from noiseproof.models.resnet import ResNet18

Model = Annotated[MLP | ResNet18, Field(discriminator="name")]
"""Any network, told apart by its ``name``."""

__all__ = ["MLP", "Model", "ResNet18", "build_initialized"]
