"""Any network at all: a function or class of one's own, named by its import path."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, JsonValue, field_validator
from torch import Tensor, nn

from noiseproof.errors import NoiseproofError, did_you_mean
from noiseproof.import_path import code, current_folder_first, imported, is_import_path, said
from noiseproof.models.network import Network
from noiseproof.models.randomness import global_randomness


class Factory(Network):
    """The network that ``path``, such as ``my_nets:make``, gives when it is called, a new one at each call.

    It is called with ``options`` and, as far as its signature names them, with ``num_classes``,
    ``image_shape`` as (C, H, W), and ``in_channels``. What it draws for its initial weights comes from the
    run's seed, though it uses the global generators. Modules are found in the current folder first, as
    ``python -m`` finds them. A record names the code but doesn't hold it, and to read one imports nothing.

    ``code``: twelve digits of the SHA-256 of the module's file, noted when a training begins, so that runs of
    a network that was changed meanwhile are not taken for the same. None for code of an installed package.

    >>> Factory(path="torch.nn:Flatten", options={"start_dim": 2}).build((1, 8, 8), 10)
    Flatten(start_dim=2, end_dim=-1)
    """

    name: Literal["factory"] = "factory"
    path: str
    options: dict[str, JsonValue] = Field(default_factory=dict)
    code: str | None = None
    opaque: ClassVar[bool] = True

    @field_validator("path")
    @classmethod
    def _names(cls, path: str) -> str:
        if not is_import_path(path):
            raise ValueError(f"{path!r} must be MODULE:NAME, such as 'my_nets:make'")
        return path

    def build(self, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        """Import the factory and call it.

        Raises `NoiseproofError` if it can't be imported or called, or gives no `nn.Module`.
        """
        with current_folder_first():
            factory = self._imported()
            options: dict[str, Any] = dict(self.options)
            known = _parameters(factory)
            if known is not None:
                named = {
                    "num_classes": num_classes,
                    "image_shape": image_shape,
                    "in_channels": image_shape[0],
                }
                options = {name: value for name, value in named.items() if name in known} | options
                self._refuse_unknown(options, known)
            try:
                network = factory(**options)
            except Exception as error:  # somebody else's code
                raise NoiseproofError(f"{self._call(options)} raised {said(error)}") from error
        if not isinstance(network, nn.Module):
            raise NoiseproofError(
                f"{self._call(options)} must give a torch.nn.Module, got a {type(network).__name__}"
            )
        return network

    def initialized(self, image_shape: tuple[int, int, int], num_classes: int, *, seed: int) -> nn.Module:
        """Build the network on the CPU with the global generators seeded; they are left as they were.

        Raises `NoiseproofError` as for `build`, and unless it turns images into ``(N, num_classes)`` logits.
        """
        with global_randomness(seed):
            self._imported()  # what an import draws, it draws only once
        with global_randomness(seed):
            network = self.build(image_shape, num_classes)
            # lazy layers get their weights here
            self._check_logits(network.eval(), image_shape, num_classes)
        if not any(parameter.requires_grad for parameter in network.parameters()):
            raise NoiseproofError(f"{self.path} gives a network without a parameter to train")
        return network.train()

    def check(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        """Raise `NoiseproofError` unless each call gives a new network that turns images into logits.

        It is asked in training too.
        """
        network = self.initialized(image_shape, num_classes, seed=0)
        with global_randomness(0):
            self._check_logits(network, image_shape, num_classes)
            other = self.build(image_shape, num_classes)
        if set(network.parameters()) & set(other.parameters()):  # told apart by identity
            raise NoiseproofError(
                f"{self.path} gave the same network twice; it must make a new one at each call"
            )

    def fault_on_one(self, image_shape: tuple[int, int, int], num_classes: int) -> str | None:
        """Say why the network can't be trained on a batch of a single image; None if it can."""
        network = self.initialized(image_shape, num_classes, seed=0)
        try:
            with global_randomness(0):
                self._check_logits(network, image_shape, num_classes, batch=1)
        except NoiseproofError as error:
            return str(error)
        return None

    def pinned(self) -> Self:
        """Note which code it is; raises `NoiseproofError` if it can't be imported, or is other code now."""
        with global_randomness(0):
            self._imported()
        found = code(self.path.partition(":")[0])
        if self.code not in (None, found):
            raise NoiseproofError(f"{self.path} is other code than it was: {found}, expected {self.code}")
        return self.model_copy(update={"code": found})

    def _imported(self) -> Callable[..., Any]:
        found = imported(self.path)
        if not callable(found):
            raise NoiseproofError(
                f"{self.path!r} must be a function or class that gives a network,"
                f" got a {type(found).__name__}"
            )
        called: Callable[..., Any] = found
        return called

    def _refuse_unknown(self, options: dict[str, Any], known: dict[str, inspect.Parameter]) -> None:
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
            return
        for name in options:
            if name not in known:
                offer = did_you_mean(name, known) if known else "it takes none"
                raise NoiseproofError(f"{self.path} has no option {name!r}; {offer}")

    def _check_logits(
        self, network: nn.Module, image_shape: tuple[int, ...], num_classes: int, *, batch: int = 2
    ) -> None:
        shape, expected = (batch, *image_shape), (batch, num_classes)
        try:
            with torch.no_grad():
                logits = network(torch.zeros(shape))
        except Exception as error:  # somebody else's code
            raise NoiseproofError(f"{self.path}'s network on images {shape} raised {said(error)}") from error
        given = tuple(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        if given != expected:
            raise NoiseproofError(
                f"{self.path}'s network must turn images {shape} into logits {expected},"
                f" got {given} (the factory is told num_classes if its signature names it)"
            )

    def _call(self, options: dict[str, Any]) -> str:
        return f"{self.path}({', '.join(f'{name}={value!r}' for name, value in options.items())})"


def _parameters(factory: Callable[..., Any]) -> dict[str, inspect.Parameter] | None:
    """Give what a factory takes by name, or None if nothing says so."""
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # compiled code may have no signature
        return None
    return {name: p for name, p in parameters.items() if p.kind not in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL)}
