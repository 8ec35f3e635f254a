"""Losses of one's own, named by their import path: a function or a class in a file that is not ours."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from noiseproof.errors import NoiseproofError
from noiseproof.import_path import current_folder_first, imported, said
from noiseproof.losses.base import Loss, NothingKnownError, Properties, call_text
from noiseproof.losses.evaluation import Options
from noiseproof.losses.formula import Formula
from noiseproof.losses.fused import is_eager

Function = Callable[[Tensor, Tensor], Tensor]
"""``(logits, target) -> values``: shapes ``(N, C), (N,) -> (N,)``."""


class NamedLoss(Loss):
    """A loss of one's own as a text names it: ``path``, and the numbers that stand in brackets after it.

    By itself it is not imported: it has a text and a label, but no values, and nothing is known of it.
    """

    name = "own"

    def __init__(self, path: str, given: Mapping[str, float]) -> None:
        super().__init__()
        self.path = path
        self.given = dict(sorted(given.items()))

    @property
    def module(self) -> str:
        """The module that holds it."""
        return self.path.partition(":")[0]

    def per_sample(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Raise `NoiseproofError`: there is nothing to evaluate."""
        raise NoiseproofError(
            f"{self} has only been named, not imported; read it with noiseproof.losses.parse"
        )

    @property
    def hyperparameters(self) -> dict[str, float]:
        """The numbers that the text gives it."""
        return self.given

    @property
    def label(self) -> str:
        """The name without its module, such as ``MyLoss(k=2)``."""
        return self.path.partition(":")[2] + call_text(self.given)

    def __str__(self) -> str:
        """The loss as it was written, such as ``my_losses:MyLoss(k=2)``."""
        return self.path + call_text(self.given)


class OwnLoss(NamedLoss):
    """A loss of one's own, imported: all but its text and its label is that of ``loss``."""

    def __init__(self, path: str, given: Mapping[str, float], loss: Loss) -> None:
        super().__init__(path, given)
        self.loss = loss

    def formula(self) -> Formula:
        """Give what the loss evaluates."""
        return self.loss.formula()

    def per_sample(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give the loss's values at the labels."""
        return self.loss.per_sample(log_p, target)

    def per_class(self, log_p: Tensor) -> Tensor:
        """Give the loss's values for every class."""
        return self.loss.per_class(log_p)

    def class_terms(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give the loss's terms."""
        return self.loss.class_terms(log_p, target)

    def properties(self, num_classes: int) -> Properties:
        """Tell what the loss tells of itself; raises `NothingKnownError` if that is nothing."""
        try:
            return self.loss.properties(num_classes)
        except NothingKnownError:
            raise NothingKnownError(f"nothing is known of {self}; a certificate computes it") from None


class FunctionLoss(Loss):
    """A function of logits and labels that gives one value a sample, as a loss; nothing is known of it.

    It is called with log-probabilities, which are logits of the same softmax, and with the batches of several
    runs at once. That neither makes a difference is tried at its first call for each number of classes.
    """

    name = "function"

    def __init__(self, path: str, function: Function) -> None:
        super().__init__()
        self.path = path
        self.function = function
        self._checked: set[int] = set()

    def per_sample(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Call the function; raises `NoiseproofError` where it is none that a `Loss` can stand for."""
        num_classes = log_p.shape[-1]
        if num_classes not in self._checked and is_eager(log_p):
            self._check(num_classes, log_p)
            self._checked.add(num_classes)
        return self.function(log_p.reshape(-1, num_classes), target.reshape(-1)).reshape(target.shape)

    def _check(self, num_classes: int, like: Tensor) -> None:
        """Try the function on some logits of the dtype and device of ``like``."""
        logits = 1 + 2 * torch.arange(4.0 * num_classes).square().sin().view(4, num_classes)
        target = (torch.arange(4) % num_classes).to(like.device)
        with torch.inference_mode(False), torch.enable_grad():
            logits = logits.to(like.device, like.dtype).requires_grad_()
            values = self._tried(logits, target)
            if not values.requires_grad:
                raise NoiseproofError(f"{self.path} gives values that have no gradient over the logits")
            if not _same(values, self._tried(logits.log_softmax(-1), target)):
                raise NoiseproofError(
                    f"{self.path} must depend on softmax(logits) alone, and not on chance: it gives"
                    " other values for their log-probabilities, which have the same softmax"
                )
            if not _same(values[:2], self._tried(logits[:2], target[:2])):
                raise NoiseproofError(
                    f"{self.path} must give each sample a value of its own: it gives two samples other"
                    " values when two more are in the batch"
                )

    def _tried(self, logits: Tensor, target: Tensor) -> Tensor:
        try:
            values = self.function(logits, target)
        except Exception as error:  # somebody else's code
            shapes = f"{tuple(logits.shape)} and labels {tuple(target.shape)}"
            raise NoiseproofError(f"{self.path} on logits {shapes} raised {said(error)}") from error
        if isinstance(values, Tensor) and values.shape == target.shape:
            return values
        expected = f"{self.path} must give one value a sample, {tuple(target.shape)} for {len(target)} labels"
        if isinstance(values, Tensor) and values.dim() == 0:
            raise NoiseproofError(f"{expected}, got one number for all: leave out its mean or sum")
        given = tuple(values.shape) if isinstance(values, Tensor) else f"a {type(values).__name__}"
        raise NoiseproofError(f"{expected}, got {given}")


class OwnCode:
    """What an import path names: a `Loss` class, or a function or class of functions of (logits, target).

    ``defaults``: its hyperparameters, which are all its parameters that have a number for their default.

    Raises:
        NoiseproofError: it can't be imported, or is nothing of the kind.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.found = imported(path)
        if isinstance(self.found, Loss):
            raise NoiseproofError(f"{path!r} is a loss already made; name its class, or a function")
        if not callable(self.found):
            raise NoiseproofError(
                f"{path!r} must be a Loss class, or a function (logits, target) of one value a sample,"
                f" got a {type(self.found).__name__}"
            )
        self.is_class = isinstance(self.found, type)
        self.is_loss = self.is_class and issubclass(self.found, Loss)
        self.parameters = _parameters(self.found)
        self.defaults: dict[str, float] = {
            name: parameter.default
            for name, parameter in self.parameters.items()
            if isinstance(parameter.default, int | float)
            and not isinstance(parameter.default, bool)
            and name not in Options.__annotations__
        }

    def loss(self, given: Mapping[str, float]) -> OwnLoss:
        """Make the loss; raises `NoiseproofError` if its code does, or makes none."""
        options: dict[str, Any] = {
            name: int(value) if isinstance(self.defaults[name], int) and float(value).is_integer() else value
            for name, value in given.items()
        }
        if not self.is_loss and "reduction" in self.parameters:
            options["reduction"] = "none"
        made = self._called(options) if self.is_class else partial(self.found, **options)
        if not isinstance(made, Loss):
            if not callable(made):
                raise NoiseproofError(f"{self.path} must give what can be called as loss(logits, target)")
            if isinstance(made, nn.Module) and any(True for _ in made.parameters()):
                raise NoiseproofError(f"{self.path} has parameters of its own, which nothing would train")
            made = FunctionLoss(self.path, made)
        return OwnLoss(self.path, given, made)

    def _called(self, options: dict[str, Any]) -> Any:
        try:
            with current_folder_first():
                return self.found(**options)
        except NoiseproofError:
            raise
        except Exception as error:  # somebody else's code
            called = ", ".join(f"{name}={value!r}" for name, value in options.items())
            raise NoiseproofError(f"{self.path}({called}) raised {said(error)}") from error


def check_values(loss: Loss, num_classes: int) -> None:
    """Raise `NoiseproofError` unless a loss gives one number a sample for so many classes."""
    target = torch.arange(2)
    try:
        values = loss.per_sample(torch.zeros(2, num_classes).log_softmax(-1), target)
    except NoiseproofError:
        raise
    except Exception as error:  # somebody else's code
        raise NoiseproofError(f"{loss} for {num_classes} classes raised {said(error)}") from error
    if not isinstance(values, Tensor) or values.shape != target.shape:
        given = tuple(values.shape) if isinstance(values, Tensor) else f"a {type(values).__name__}"
        raise NoiseproofError(f"{loss} must give one value a sample, (2,) for 2 labels, got {given}")


def own_modules(loss: nn.Module) -> list[str]:
    """Name the modules that a loss, or a loss within it, is from, if they are not ours."""
    return list(dict.fromkeys(part.module for part in loss.modules() if isinstance(part, NamedLoss)))


def _parameters(called: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(called).parameters
    except (TypeError, ValueError):  # compiled code may have no signature
        return {}


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other.to(one.dtype), rtol=1e-3, atol=1e-4, equal_nan=True)
