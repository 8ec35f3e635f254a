"""The losses that the tests here run on, and an independent reference for what they must compute."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from noiseproof.losses import CATALOGUE, Loss, NormalizedLoss, WeightedSum, parse

# ---------------------------------------------------------------------------- the losses under test

TRIED = {"gamma": [0.0, 0.5, 1.0, 2.5], "A": [-4.0, math.log(1e-4)]}
"""Values for each hyperparameter; one that is not listed is tried at its default."""


def with_hyperparameters(cls: type[Loss]) -> Iterator[Loss]:
    tried = {name: TRIED.get(name, [default]) for name, default in cls().hyperparameters.items()}
    for values in itertools.product(*tried.values()):
        hyperparameters: dict[str, Any] = dict(zip(tried, values, strict=True))
        yield cls(**hyperparameters)


REGISTERED = [loss for cls in CATALOGUE.values() for loss in with_hyperparameters(cls)]
COMPOSED = [
    parse(text)
    for text in (
        "nce + mae",
        "2*nfl(gamma=0.5) + 0.5*rce(A=-9)",
        "0.1*ce + rce",
        "nce + 3*nmae + mae",
        "2*fl(gamma=2)",
        "normalized(fl(gamma=2))",
        "normalized(ce + mae)",
        "0.5*normalized(2*nce + mae) + nrce",
    )
]


def fresh(loss: Loss) -> Loss:
    """A copy, so that a test may set ``reduction`` and ``ignore_index``."""
    return copy.deepcopy(loss)


@pytest.fixture(params=REGISTERED, ids=str)
def registered(request: pytest.FixtureRequest) -> Loss:
    """Every loss of the catalogue, at several hyperparameters."""
    return fresh(request.param)


@pytest.fixture(params=[loss for loss in REGISTERED if isinstance(loss, NormalizedLoss)], ids=str)
def normalized(request: pytest.FixtureRequest) -> Loss:
    """Every normalized loss of the catalogue."""
    return fresh(request.param)


@pytest.fixture(params=REGISTERED + COMPOSED, ids=str)
def loss(request: pytest.FixtureRequest) -> Loss:
    """Every loss of the catalogue, and some sums and normalizations of them."""
    return fresh(request.param)


# --------------------------------------------------------------------------------------- the inputs


@pytest.fixture
def shape() -> tuple[int, ...]:
    """Shape of the logits; a test that wants another one parametrizes ``shape``."""
    return (16, 5)


@pytest.fixture
def logits(shape: tuple[int, ...]) -> Tensor:
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def target(shape: tuple[int, ...]) -> Tensor:
    class_dim = min(1, len(shape) - 1)
    labels_shape = shape[:class_dim] + shape[class_dim + 1 :]
    return torch.randint(shape[class_dim], labels_shape, generator=torch.Generator().manual_seed(1))


# ------------------------------------------------------------------------------------ the reference

Array = npt.NDArray[np.float64]
Terms = Callable[..., Array]
"""``(p, q, **hyperparameters) -> l(f(x), k)``: the terms over k, whose sum is the loss."""


def ce(p: Array, q: Array) -> Array:  # eq. 1
    return -q * np.log(p)


def mae(p: Array, q: Array) -> Array:  # eq. 2
    return np.abs(p - q)


def rce(p: Array, q: Array, A: float) -> Array:  # eq. 3, with log 0 truncated to A
    return -p * np.where(q == 1, 0.0, A)


def fl(p: Array, q: Array, gamma: float) -> Array:  # eq. 4
    return -q * (1 - p) ** gamma * np.log(p)


def over_all_labels(terms: Terms) -> Terms:  # eq. 5
    def quotient(p: Array, q: Array, **hyperparameters: float) -> Array:
        total = np.zeros(len(p))
        for one_hot in np.eye(p.shape[-1]):
            total += terms(p, np.broadcast_to(one_hot, p.shape), **hyperparameters).sum(-1)
        return terms(p, q, **hyperparameters) / total[:, None]

    return quotient


EQUATIONS: dict[str, Terms] = {
    "ce": ce,
    "mae": mae,
    "rce": rce,
    "fl": fl,
    "nce": over_all_labels(ce),  # eq. 6
    "nmae": over_all_labels(mae),  # eq. 7
    "nrce": over_all_labels(rce),  # eq. 8
    "nfl": over_all_labels(fl),  # eq. 9
}


def terms_of(loss: Loss) -> Terms:
    if isinstance(loss, WeightedSum):  # eq. 10
        return lambda p, q: np.sum([w * terms_of(term)(p, q) for w, term in loss.weighted], axis=0)
    if type(loss) is NormalizedLoss:
        return over_all_labels(terms_of(loss.loss))
    return partial(EQUATIONS[loss.name], **loss.hyperparameters)


@pytest.fixture
def equations() -> dict[str, Terms]:
    """The study's equations by loss name."""
    return EQUATIONS


@pytest.fixture
def reference() -> Callable[[Loss, Tensor, Tensor], Tensor]:
    """``(loss, logits, target) -> l(f(x), k)``, shape (N, K), in float64."""

    def terms(loss: Loss, logits: Tensor, target: Tensor) -> Tensor:
        z = logits.double().numpy()
        p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
        q = np.eye(z.shape[-1])[target.numpy()]
        return torch.from_numpy(terms_of(loss)(p, q))

    return terms
