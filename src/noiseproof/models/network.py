"""What every network's schema is: data that builds a network, with initial weights from a seed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self

import torch
from torch import nn

from noiseproof.errors import one_line
from noiseproof.models.initialization import Initialize, as_pytorch, build_initialized
from noiseproof.schema import Schema


class Network(Schema, ABC):
    """A network as typed data, told apart by its ``name``.

    ``opaque``: nothing is known of the network's code. It may draw at random, wait for the device or keep a
    state that no stack can hold, so it is trained alone, step by step, on images in PyTorch's usual layout.
    """

    name: str
    opaque: ClassVar[bool] = False

    @abstractmethod
    def build(self, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        """Build the network: ``(N, C, H, W) -> (N, num_classes)``.

        Raises `NoiseproofError` for images that it can't take.
        """

    def initialized(self, image_shape: tuple[int, int, int], num_classes: int, *, seed: int) -> nn.Module:
        """Build the network on the CPU, its initial weights drawn from ``seed`` alone."""
        return build_initialized(
            lambda: self.build(image_shape, num_classes), seed=seed, initialize=self._initialize
        )

    def check(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        """Raise `NoiseproofError` unless the network can be built for such images."""
        with torch.device("meta"):
            self.build(image_shape, num_classes)

    def fault_on_one(self, image_shape: tuple[int, int, int], num_classes: int) -> str | None:
        """Say why the network can't be trained on a batch of a single image; None if it can."""
        with torch.device("meta"), torch.no_grad():
            network = self.build(image_shape, num_classes).train()
            try:
                network(torch.empty(1, *image_shape))
            except ValueError as error:  # of batch normalization
                return one_line(str(error))
        return None

    def pinned(self) -> Self:
        """Give the same network with all noted that decides what it is, code that is not ours too."""
        return self

    @property
    def _initialize(self) -> Initialize:
        return as_pytorch
