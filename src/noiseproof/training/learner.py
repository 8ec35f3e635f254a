"""One run as the GPU's engine trains it: all that its step reads and changes stays where it is."""

from __future__ import annotations

from contextlib import AbstractContextManager
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from noiseproof.training.base import RunState
from noiseproof.training.recipe import Recipe
from noiseproof.training.stack import State


class Learner:
    """One run's network, loss and momentum, and its step; all of it stays in place."""

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        loss: nn.Module,
        device: torch.device,
        *,
        opaque: bool,
        compiled: bool,
    ) -> None:
        self.network = network
        self.recipe = recipe
        # of its own, since it may hold tensors that have to be on the device
        self.loss = deepcopy(loss).to(device)
        # counters that nothing reads: a kernel for each would be launched in every step
        self._step_counters = [] if opaque else _taken_out_step_counters(self.network)
        self.parameters: State = dict(self.network.named_parameters())
        self.momentum = {
            name: torch.zeros_like(p, requires_grad=False) for name, p in self.parameters.items()
        }
        # one compilation serves all networks of a kind
        self._compiled = torch.compile(self.network, dynamic=False) if compiled else self.network

    @property
    def buffers(self) -> State:
        """The network's buffers: an opaque one may put others in their places."""
        return dict(self.network.named_buffers())

    @property
    def tensors(self) -> list[Tensor]:
        """What a step changes."""
        return [*self.parameters.values(), *self.buffers.values(), *self.momentum.values()]

    def train(
        self,
        images: Tensor,
        given: Tensor,
        learning_rate: Tensor,
        *,
        compute: AbstractContextManager[object],
        compiled: bool,
    ) -> tuple[Tensor, Tensor]:
        """Train a step; give each sample's loss and what was predicted before the step, both ``(B,)``."""
        self.network.train()
        with compute:
            logits = (self._compiled if compiled else self.network)(images)
        logits = _widened(logits)
        losses = self.loss(logits, given)
        trained = [name for name, parameter in self.parameters.items() if parameter.requires_grad]
        # not backward(): gradients then need no place of their own, and stay on the stream they are made on
        gradients = torch.autograd.grad(
            losses.mean(), [self.parameters[name] for name in trained], allow_unused=True
        )
        self._update({n: g for n, g in zip(trained, gradients, strict=True) if g is not None}, learning_rate)
        return losses.detach(), logits.detach().argmax(-1)

    def predict(self, images: Tensor, *, compute: AbstractContextManager[object]) -> Tensor:
        """Give the predicted labels."""
        self.network.eval()
        with compute:
            predicted: Tensor = self.network(images).argmax(-1)
        return predicted

    @torch.no_grad()
    def _update(self, gradients: State, learning_rate: Tensor) -> None:
        """Make the step, with the L1 norm's gradient and clipping as the recipe says."""
        parameters = [self.parameters[name] for name in gradients]
        adjusted = [
            _laid_out_as(p, gradient) for p, gradient in zip(parameters, gradients.values(), strict=True)
        ]
        if self.recipe.l1:
            adjusted = list(
                torch._foreach_add(adjusted, torch._foreach_sign(parameters), alpha=self.recipe.l1)
            )
        if self.recipe.clip_norm is not None:
            norm = torch.stack(torch._foreach_norm(adjusted)).norm()
            # as torch.nn.utils.clip_grad_norm_ does
            factor = (self.recipe.clip_norm / (norm + 1e-6)).clamp(max=1)
            adjusted = list(torch._foreach_mul(adjusted, factor))
        sgd(
            parameters,
            adjusted,
            [self.momentum[name] for name in gradients],  # zeros at first: the same as SGD's own first step
            fused=True,
            weight_decay=self.recipe.weight_decay,
            momentum=self.recipe.momentum,
            lr=learning_rate,  # type: ignore[arg-type]  # a tensor, so that a graph can read it
            dampening=0,
            nesterov=False,
            maximize=False,
        )

    def state(self, step: int) -> RunState:
        """Copy what was learned in ``step`` steps to the CPU."""
        counters = {name: torch.tensor(step) for name in self._step_counters}
        return RunState(_on_cpu(self.parameters), _on_cpu(self.buffers) | counters, _on_cpu(self.momentum))

    @torch.no_grad()
    def load(self, state: RunState) -> None:
        """Take up what was learned."""
        for kept, restored in (
            (self.parameters, state.parameters),
            (self.buffers, state.buffers),
            (self.momentum, state.momentum),
        ):
            for name, value in kept.items():
                value.copy_(restored[name])


def _taken_out_step_counters(network: nn.Module) -> list[str]:
    """Take the counters of steps out of batch normalization; give the names that they had."""
    names = []
    for prefix, layer in network.named_modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.momentum is not None:
            layer.num_batches_tracked = None
            names.append(f"{prefix}.num_batches_tracked")
    return names


def _widened(logits: Tensor) -> Tensor:
    """Give half-precision logits in float32, in which every loss is computed."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _laid_out_as(parameter: Tensor, gradient: Tensor) -> Tensor:
    """Give the gradient with its elements where the parameter has its own: the update walks both in step."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def _on_cpu(tensors: State) -> State:
    # contiguous, as the other engine keeps them
    return {
        name: tensor.detach().to("cpu", memory_format=torch.contiguous_format, copy=True)
        for name, tensor in tensors.items()
    }
