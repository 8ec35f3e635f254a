"""ResNet-18 and ResNet-34 (He et al., CVPR 2016), with the stem for small images or for ImageNet's."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from noiseproof.models.initialization import Initialize, as_pytorch, he_and_glorot
from noiseproof.models.network import Network


class ResNet(Network):
    """Four stages of basic blocks, ``blocks`` of them in each; ``width`` channels in the first, doubling.

    ``stem``: "cifar" is a 3x3 convolution and no pooling, usual for 32x32 images; "imagenet" is the
    paper's 7x7 of stride 2 with max-pooling.
    """

    width: Annotated[int, Field(strict=True, ge=1, le=65_536)] = 64
    stem: Literal["cifar", "imagenet"] = "cifar"
    blocks: ClassVar[tuple[int, int, int, int]]

    def build(self, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        """Build the network: ``(N, C, H, W) -> (N, num_classes)``."""
        layers: list[nn.Module] = []
        channels = self.width
        for stage, number in enumerate(self.blocks):
            width = self.width * 2**stage
            for block in range(number):
                layers.append(BasicBlock(channels, width, stride=2 if stage and not block else 1))
                channels = width
        return nn.Sequential(
            _stem(self.stem, image_shape[0], self.width),
            *layers,
            GlobalAverage(),
            nn.Linear(channels, num_classes),
        )


class ResNet18(ResNet):
    """ResNet-18: four stages of two basic blocks; options as for `ResNet`."""

    name: Literal["resnet18"] = "resnet18"
    blocks = (2, 2, 2, 2)


class ResNet34(ResNet):
    """ResNet-34: stages of three, four, six and three basic blocks; options as for `ResNet`, and:

    ``initial``: initial weights as PyTorch draws them, or by He and Glorot as in Ma et al., ICML 2020.
    """

    name: Literal["resnet34"] = "resnet34"
    initial: Literal["pytorch", "he"] = "pytorch"
    blocks = (3, 4, 6, 3)

    @property
    def _initialize(self) -> Initialize:
        return {"pytorch": as_pytorch, "he": he_and_glorot}[self.initial]


class GlobalAverage(nn.Module):
    """The mean over all positions; under vmap faster than `nn.AdaptiveAvgPool2d`."""

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: ``(N, C, H, W) -> (N, C)``."""
        return x.mean((2, 3))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch normalization and a shortcut, projected where the shape changes."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: ``(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)``."""
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(residual + self.shortcut(x))


def _stem(kind: Literal["cifar", "imagenet"], inputs: int, outputs: int) -> nn.Module:
    if kind == "cifar":
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
        )
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
    )
