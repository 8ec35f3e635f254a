"""Many copies of one network as one program: parameters stacked along a first dimension."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

State = dict[str, Tensor]


class Stack:
    """R independent copies of a network, evaluated together; copy r has initial weights from ``seeds[r]``.

    ``parameters`` and ``buffers`` map a name to a tensor ``(R, ...)``: row r is copy r's, whatever the
    others are, so a copy can be taken out or put back. ``initialized`` gives a network by its seed.
    """

    def __init__(
        self, initialized: Callable[[int], nn.Module], seeds: Sequence[int], device: torch.device
    ) -> None:
        initial = {seed: initialized(seed) for seed in dict.fromkeys(seeds)}
        self.network = next(iter(initial.values())).to(device)
        copies = [initial[seed] for seed in seeds]
        self.parameters = {
            name: _stacked([dict(copy.named_parameters())[name] for copy in copies], device).requires_grad_()
            for name, _ in self.network.named_parameters()
        }
        self.buffers = {
            name: _stacked([dict(copy.named_buffers())[name] for copy in copies], device)
            for name, _ in self.network.named_buffers()
        }

    def __len__(self) -> int:
        return len(next(iter(self.parameters.values())))

    def logits(self, images: Tensor, *, training: bool) -> Tensor:
        """Evaluate all copies: images ``(B, C, H, W)`` for all, or ``(R, B, C, H, W)``, to ``(R, B, K)``.

        In training, batch normalization uses and updates each copy's own statistics.
        """
        self.network.train(training)
        state = self.parameters | self.buffers
        if len(self) == 1:  # without vmap, which would run convolutions as grouped ones
            batch = images if images.dim() == 4 else images[0]
            batch = batch.contiguous(memory_format=torch.channels_last)
            return self._call({name: value[0] for name, value in state.items()}, batch)[None]
        in_dims = (0, None if images.dim() == 4 else 0)
        stacked: Tensor = vmap(self._call, in_dims=in_dims)(state, images)
        return stacked

    def _call(self, state: State, images: Tensor) -> Tensor:
        output: Tensor = functional_call(self.network, state, (images,))
        return output


def _stacked(copies: Sequence[Tensor], device: torch.device) -> Tensor:
    return torch.stack([copy.detach() for copy in copies]).to(device)
