"""Initial weights from a generator of their own, so that the global random state is never touched."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn


def build_initialized(build: Callable[[], nn.Module], *, seed: int) -> nn.Module:
    """Build a network and draw PyTorch's default initial weights from ``seed`` alone.

    Raises `TypeError` for a layer with parameters that is not known here, rather than leave it unset.
    """
    with torch.device("meta"):  # a layer's own constructor would draw from the global generator
        network = build()
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        initialize(layer, generator)
    return network


@torch.no_grad()
def initialize(layer: nn.Module, generator: torch.Generator) -> None:
    """Draw a layer's own parameters, as its ``reset_parameters`` would, from ``generator``."""
    match layer:
        case nn.Linear() | nn.Conv2d():
            fan_in = layer.weight[0].numel()
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
            if layer.bias is not None:
                bound = 1 / math.sqrt(fan_in)
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
        case nn.BatchNorm2d():
            layer.reset_parameters()  # constants: nothing is drawn
        case _ if any(True for _ in layer.parameters(recurse=False)):
            raise TypeError(f"do not know how to initialize a {type(layer).__name__}")
