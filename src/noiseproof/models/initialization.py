"""Initial weights from a generator of their own, so that the global random state is never touched."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

Initialize = Callable[[nn.Module, torch.Generator], None]
"""Draws a layer's own parameters from a generator; `TypeError` for a layer that it does not know."""


@torch.no_grad()
def as_pytorch(layer: nn.Module, generator: torch.Generator) -> None:
    """Draw a layer's own parameters as its ``reset_parameters`` would."""
    match layer:
        case nn.Linear() | nn.Conv2d():
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
            if layer.bias is not None:
                bound = 1 / math.sqrt(layer.weight[0].numel())
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            layer.reset_parameters()  # constants: nothing is drawn
        case _ if any(True for _ in layer.parameters(recurse=False)):
            raise TypeError(f"do not know how to initialize a {type(layer).__name__}")


@torch.no_grad()
def he_and_glorot(layer: nn.Module, generator: torch.Generator) -> None:
    """As PyTorch's, but for weights: He's uniform for convolutions (for ReLU), Glorot's for linear layers.

    So do Ma et al., ICML 2020, start all their networks (``_reset_prams`` of their models.py).
    """
    as_pytorch(layer, generator)
    match layer:
        case nn.Conv2d():
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
        case nn.Linear():
            nn.init.xavier_uniform_(layer.weight, generator=generator)


def build_initialized(
    build: Callable[[], nn.Module], *, seed: int, initialize: Initialize = as_pytorch
) -> nn.Module:
    """Build a network and draw its initial weights, by default PyTorch's own, from ``seed`` alone.

    Raises `TypeError` for a layer with parameters that is not known here, rather than leave it unset.
    """
    with torch.device("meta"):  # a layer's own constructor would draw from the global generator
        network = build()
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        initialize(layer, generator)
    return network
