"""The two convolutional networks of Ma et al., ICML 2020: 8 layers for CIFAR-10, 4 for MNIST.

Layer for layer those of ``ToyModel`` in models.py of github.com/HanxunH/Active-Passive-Losses at 04bce53:
3x3 convolutions with biases, batch normalization and ReLU; 2x2 max-pooling after each group; a hidden linear
layer with batch normalization and ReLU; no dropout.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal

from torch import nn

from noiseproof.errors import NoiseproofError
from noiseproof.models.initialization import Initialize, he_and_glorot
from noiseproof.models.network import Network


class CNN(Network):
    """Groups of convolutions, ``groups`` their output channels, then a hidden layer of ``hidden`` units."""

    groups: ClassVar[tuple[tuple[int, ...], ...]]
    hidden: ClassVar[int]

    def build(self, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        """Build the network: ``(N, C, H, W) -> (N, num_classes)``.

        Raises `NoiseproofError` for images of which the pooling would leave nothing.
        """
        inputs, *sides = image_shape
        least = 2 ** len(self.groups)
        if min(sides) < least:
            given = "x".join(map(str, sides))
            raise NoiseproofError(
                f"{self.name} halves images {len(self.groups)} times: they must be at least {least}x{least},"
                f" got {given}"
            )
        layers: list[nn.Module] = []
        for group in self.groups:
            for before, after in pairwise((inputs, *group)):
                layers += [
                    nn.Conv2d(before, after, 3, padding=1),
                    nn.BatchNorm2d(after),
                    nn.ReLU(inplace=True),
                ]
            layers.append(nn.MaxPool2d(2))
            inputs = group[-1]
        features = inputs * (sides[0] // least) * (sides[1] // least)
        return nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Linear(features, self.hidden),
            nn.BatchNorm1d(self.hidden),
            nn.ReLU(inplace=True),
            nn.Linear(self.hidden, num_classes),
        )

    @property
    def _initialize(self) -> Initialize:
        return he_and_glorot


class CNN8(CNN):
    """Six convolutions, of 64, 128 and 196 channels, and two linear layers.

    >>> CNN8().build((3, 32, 32), 10)[-4]
    Linear(in_features=3136, out_features=256, bias=True)
    """

    name: Literal["cnn8"] = "cnn8"
    groups = ((64, 64), (128, 128), (196, 196))
    hidden = 256


class CNN4(CNN):
    """Two convolutions, of 32 and 64 channels, and two linear layers.

    >>> CNN4().build((1, 28, 28), 10)[-4]
    Linear(in_features=3136, out_features=128, bias=True)
    """

    name: Literal["cnn4"] = "cnn4"
    groups = ((32,), (64,))
    hidden = 128
