"""A multilayer perceptron: enough for the digits."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from noiseproof.models.network import Network

Width = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]


class MLP(Network):
    """A multilayer perceptron on flattened images: linear layers of ``hidden`` widths with ReLU between."""

    name: Literal["mlp"] = "mlp"
    hidden: tuple[Width, ...] = (256,)

    def build(self, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        """Build the network: ``(N, C, H, W) -> (N, num_classes)``."""
        widths = [math.prod(image_shape), *self.hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True)]
        return nn.Sequential(*layers, nn.Linear(widths[-1], num_classes))
