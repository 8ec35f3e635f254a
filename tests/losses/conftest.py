"""The losses that the tests here run on, and an independent reference for what they must compute."""

from __future__ import annotations

import copy
import itertools
import math
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from noiseproof.losses import CATALOGUE, Loss, NormalizedLoss, WeightedSum, functional, parse

# ---------------------------------------------------------------------------- the losses under test

TRIED: dict[str, dict[str, list[float]]] = {
    "": {"gamma": [0.0, 0.5, 1.0, 2.5], "A": [-4.0, math.log(1e-4)]},
    "gce": {"q": [0.1, 0.7, 1.0]},
    "ngce": {"q": [0.1, 0.7, 1.0]},
    "sce": {"alpha": [0.1, 0.5]},
    "ls": {"epsilon": [0.0, 0.1, 0.6]},
    "js": {"pi": [0.1, 0.5, 0.9]},
    "tce": {"t": [1, 2, 6]},
    "aul": {"a": [1.5, 6.3], "q": [0.5, 1.0, 3.0]},
    "agce": {"a": [0.6, 6.0], "q": [0.6, 1.0, 1.5]},
    "ael": {"a": [0.5, 2.5]},
    "nnce": {"p_min": [1e-7, 1e-3]},
    "nnfl": {"gamma": [0.5, 2.0], "p_min": [1e-7, 1e-3]},
    "ce_eps": {"m": [0.0, 1.0, 1e5]},
    "fl_eps": {"gamma": [0.0, 0.1], "m": [1.0, 1e5]},
    "bitempered": {"t1": [0.5, 0.8, 1.0], "t2": [1.0, 1.2, 1.5]},
}
"""Values for each hyperparameter, of any loss or of one; one that is not listed is tried at its default."""


def with_hyperparameters(cls: type[Loss]) -> Iterator[Loss]:
    listed = TRIED[""] | TRIED.get(cls.name, {})
    tried = {name: listed.get(name, [default]) for name, default in cls().hyperparameters.items()}
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
        "nce + 4*agce(a=6, q=1.5)",
        "5*nce + 5*nnce",
        "0.01*ce_eps + 5*mae",
        "normalized(sce)",
        "normalized(tce(t=3))",
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


@pytest.fixture(params=COMPOSED, ids=str)
def composed(request: pytest.FixtureRequest) -> Loss:
    """Sums and normalizations of losses of the catalogue."""
    return fresh(request.param)


@pytest.fixture(params=REGISTERED + COMPOSED, ids=str)
def loss(request: pytest.FixtureRequest) -> Loss:
    """Every loss of the catalogue, and some sums and normalizations of them."""
    return fresh(request.param)


FUNCTIONS = {name.replace("_", ""): getattr(functional, name) for name in functional.__all__}


@pytest.fixture(scope="session")
def function_of() -> Callable[[str], Callable[..., Tensor]]:
    """``name -> `` the function of a loss of the catalogue, which bears the loss's title."""
    return lambda name: FUNCTIONS[re.sub("[ -]", "", CATALOGUE[name].title.lower())]


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


@pytest.fixture(scope="session")
def value_and_gradient() -> Callable[[Loss, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """``(loss, logits, target)`` gives the loss and, by a cotangent without equal entries, its gradient."""

    def evaluate(loss: Loss, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        logits = logits.detach().requires_grad_()
        value = loss(logits, target)
        cotangent = torch.linspace(0.5, 2, value.numel(), dtype=value.dtype).reshape(value.shape)
        return value.detach(), torch.autograd.grad(value, logits, cotangent)[0]

    return evaluate


@pytest.fixture
def peak_bytes() -> Callable[[Callable[[], object]], int]:
    """``work -> `` the most that is allocated at once while it runs, by the allocator's own events."""

    def measure(work: Callable[[], object]) -> int:
        cpu = [torch.profiler.ProfilerActivity.CPU]
        # acc_events: some releases warn that without it events are those of a cycle, of which there is one
        with torch.profiler.profile(activities=cpu, profile_memory=True, acc_events=True) as run:
            kept = work()
        del kept
        held = peak = 0
        assert run.profiler is not None
        for event in run.profiler.kineto_results.events():
            if event.name() == "[memory]":
                held += event.nbytes()
                peak = max(peak, held)
        return peak

    return measure


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
    def quotient(p: Array, label: Array, **hyperparameters: float) -> Array:
        total = np.zeros(len(p))
        for one_hot in np.eye(p.shape[-1]):
            total += terms(p, np.broadcast_to(one_hot, p.shape), **hyperparameters).sum(-1)
        return terms(p, label, **hyperparameters) / total[:, None]

    return quotient


def gce(p: Array, label: Array, q: float) -> Array:
    values: Array = label * (1 - p**q) / q
    return values


def sce(p: Array, q: Array, alpha: float, beta: float, A: float) -> Array:
    return alpha * ce(p, q) + beta * rce(p, q, A)


def ls(p: Array, q: Array, epsilon: float) -> Array:
    return ce(p, (1 - epsilon) * q + epsilon / p.shape[-1])


def x_log_ratio(x: Array, y: Array) -> Array:
    values: Array = x * np.log(np.where(x > 0, x, 1) / np.where(x > 0, y, 1))
    return values


def js(p: Array, q: Array, pi: float) -> Array:
    m = pi * q + (1 - pi) * p
    values: Array = (pi * x_log_ratio(q, m) + (1 - pi) * x_log_ratio(p, m)) / (-(1 - pi) * np.log(1 - pi))
    return values


def tce(p: Array, q: Array, t: int) -> Array:
    values: Array = q * np.sum([(1 - p) ** i / i for i in range(1, t + 1)], axis=0)
    return values


def aul(p: Array, label: Array, a: float, q: float) -> Array:
    values: Array = label * ((a - p) ** q - (a - 1) ** q) / q
    return values


def agce(p: Array, label: Array, a: float, q: float) -> Array:
    values: Array = label * ((a + 1) ** q - (a + p) ** q) / q
    return values


def ael(p: Array, q: Array, a: float) -> Array:
    return q * np.exp(-p / a)


def shares_of_others(rest: Array, q: Array) -> Array:
    # 1 - rest_y / sum rest is what the other classes have of the sum
    shares: Array = (1 - q) * rest / rest.sum(-1, keepdims=True)
    return shares


def nnce(p: Array, q: Array, p_min: float) -> Array:
    return shares_of_others(-np.log(p_min) + np.log(np.maximum(p, p_min)), q)


def nnfl(p: Array, q: Array, gamma: float, p_min: float) -> Array:
    def of(p: Array) -> Array:
        return -((1 - p) ** gamma) * np.log(p)

    return shares_of_others(of(np.full_like(p, p_min)) - of(np.maximum(p, p_min)), q)


def epsilon_softmax(p: Array, m: float) -> Array:
    moved: Array = (p + m * np.eye(p.shape[-1])[p.argmax(-1)]) / (m + 1)
    return moved


def ce_eps(p: Array, q: Array, m: float) -> Array:
    return ce(epsilon_softmax(p, m), q)


def fl_eps(p: Array, q: Array, m: float, gamma: float) -> Array:
    return fl(epsilon_softmax(p, m), q, gamma)


def bitempered(p: Array, q: Array, t1: float, t2: float) -> Array:
    def log_t(x: Array) -> Array:
        values: Array = np.log(x) if t1 == 1 else (x ** (1 - t1) - 1) / (1 - t1)
        return values

    def exp_t(x: Array) -> Array:
        values: Array = np.exp(x) if t2 == 1 else (1 + (1 - t2) * x) ** (1 / (1 - t2))
        return values

    z = np.log(p)
    low = z.max(-1, keepdims=True)  # the sum is at least 1 here
    high = low + 1e4
    for _ in range(200):  # bisection, to be unlike what it checks
        middle = (low + high) / 2
        above = exp_t(z - middle).sum(-1, keepdims=True) > 1
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    u = exp_t(z - low)
    values: Array = np.where(q == 1, -log_t(u), 0) - (q - u ** (2 - t1)) / (2 - t1)
    return values


def nl(p: Array, q: Array) -> Array:
    values: Array = -(1 - q) * np.log(1 - p) / (p.shape[-1] - 1)
    return values


EQUATIONS: dict[str, Terms] = {
    "ce": ce,
    "mae": mae,
    "rce": rce,
    "fl": fl,
    "nce": over_all_labels(ce),  # eq. 6
    "nmae": over_all_labels(mae),  # eq. 7
    "nrce": over_all_labels(rce),  # eq. 8
    "nfl": over_all_labels(fl),  # eq. 9
    "gce": gce,
    "ngce": over_all_labels(gce),
    "sce": sce,
    "ls": ls,
    "js": js,
    "tce": tce,
    "aul": aul,
    "agce": agce,
    "ael": ael,
    "nnce": nnce,
    "nnfl": nnfl,
    "ce_eps": ce_eps,
    "fl_eps": fl_eps,
    "bitempered": bitempered,
    "nl": nl,
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
