"""A network of which nothing is known, in the form of a stack of one; and what it may draw at random."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from noiseproof.models import Model, global_randomness
from noiseproof.training.stack import State


class Single:
    """One network with the face of a `Stack`, but called as its author would: no vmap, no other layout.

    The network keeps its own parameters and buffers; those here, ``(1, ...)``, share their memory.
    """

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self.network = network.to(device)
        self.parameters: State = {}
        for name, parameter in self.network.named_parameters():
            row = parameter.detach()[None].requires_grad_(parameter.requires_grad)
            self.parameters[name] = row
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(_gradient_goes_to(row))  # type: ignore[no-untyped-call]

    @property
    def buffers(self) -> State:
        """What the network holds now: it may have put other tensors in the places of those it had."""
        return {name: buffer[None] for name, buffer in self.network.named_buffers()}

    def __len__(self) -> int:
        return 1

    def logits(self, images: Tensor, *, training: bool) -> Tensor:
        """Evaluate the network: images ``(B, C, H, W)`` or ``(1, B, C, H, W)`` to ``(1, B, K)``."""
        self.network.train(training)
        output: Tensor = self.network(laid_out_as_usual(images.reshape(-1, *images.shape[-3:])))
        return output[None]


def laid_out_as_usual(images: Tensor) -> Tensor:
    """Copy images to PyTorch's usual layout, in which a network may take views of what it computes."""
    # contiguous() would leave gray images the strides of another layout, which convolutions then go by
    return images.clone(memory_format=torch.contiguous_format)


def randomness_of_step(model: Model, seed: int, step: int) -> AbstractContextManager[None]:
    """What an opaque network may draw from in a step: it depends on ``(seed, step)`` alone."""
    if not model.opaque:
        return nullcontext()
    # two numbers in the key: no stream of an epoch's plan, which has one, is drawn again
    sequence = np.random.SeedSequence(seed, spawn_key=(step, 0))
    return global_randomness(int(sequence.generate_state(1, np.uint64)[0]))


def _gradient_goes_to(row: Tensor) -> Callable[[Tensor], None]:
    def hand_over(parameter: Tensor) -> None:
        assert parameter.grad is not None
        row.grad, parameter.grad = parameter.grad[None], None

    return hand_over
