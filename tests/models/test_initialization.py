"""Initial weights: PyTorch's own distribution, from the seed alone."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from noiseproof.models import CNN4, CNN8, MLP, Network, ResNet18, ResNet34, build_initialized
from noiseproof.models.initialization import he_and_glorot

Build = Callable[[], nn.Module]
Initialized = Callable[[int], nn.Module]

NETWORKS: dict[str, Network] = {
    "mlp": MLP(hidden=(32, 32)),
    "resnet18": ResNet18(width=4),
    "resnet18 imagenet": ResNet18(width=4, stem="imagenet"),
    "resnet34 he": ResNet34(width=8, initial="he"),
    "cnn4": CNN4(),
    "cnn8": CNN8(),
}


@pytest.fixture(params=list(NETWORKS.values()), ids=list(NETWORKS))
def initialized(request: pytest.FixtureRequest) -> Initialized:
    """``(seed) -> network`` for images of 8x8."""
    return lambda seed: request.param.initialized((3, 8, 8), 10, seed=seed)


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in network.state_dict().items()}


def drawn(network: nn.Module) -> dict[str, Tensor]:
    """What has been drawn at random: batch normalization starts from constants."""
    constant = {
        id(parameter)
        for layer in network.modules()
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
        for parameter in layer.parameters()
    }
    return {name: value for name, value in network.named_parameters() if id(value) not in constant}


# ---------------------------------------------------------------------------------------------- seeds


def test_equal_seeds_give_equal_weights(initialized: Initialized) -> None:
    first, second = (state(initialized(5)) for _ in range(2))
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_other_seeds_give_other_weights_in_every_layer(initialized: Initialized) -> None:
    networks = [drawn(initialized(seed)) for seed in range(4)]
    for name in networks[0]:
        values = {tuple(network[name].flatten()[:4].tolist()) for network in networks}
        assert len(values) == 4, name


def test_layers_of_the_same_shape_get_their_own_weights(initialized: Initialized) -> None:
    weights = list(drawn(initialized(0)).values())
    starts = {tuple(weight.flatten()[:3].tolist()) for weight in weights}
    assert len(starts) == len(weights)


def test_global_randomness_is_neither_read_nor_changed(initialized: Initialized) -> None:
    def weights_and_draws(global_seed: int, *, building: bool) -> tuple[Any, Any]:
        torch.manual_seed(global_seed)
        random.seed(global_seed)
        np.random.seed(global_seed)
        network = initialized(0) if building else None
        draws = torch.rand(()).item(), random.random(), np.random.rand()
        return network and [value.numpy().tobytes() for value in state(network).values()], draws

    weights, draws = weights_and_draws(1, building=True)
    assert draws == weights_and_draws(1, building=False)[1]
    assert weights == weights_and_draws(2, building=True)[0]


# ------------------------------------------------------------------------------------- the distribution

LAYERS: dict[str, Build] = {
    "linear": partial(nn.Linear, 50, 2000),
    "linear without bias": partial(nn.Linear, 50, 2000, bias=False),
    "3x3 convolution": partial(nn.Conv2d, 3, 2000, 3),
    "7x7 convolution without bias": partial(nn.Conv2d, 3, 200, 7, bias=False),
    "oblong convolution": partial(nn.Conv2d, 4, 2000, (1, 5)),
    "grouped convolution": partial(nn.Conv2d, 8, 2000, 3, groups=4),
    "batch normalization": partial(nn.BatchNorm2d, 16),
    "batch normalization without weights": partial(nn.BatchNorm2d, 16, affine=False),
    "batch normalization of vectors": partial(nn.BatchNorm1d, 16),
}


@pytest.mark.parametrize("build_layer", LAYERS.values(), ids=LAYERS.keys())
def test_every_kind_of_layer_starts_as_pytorchs_own(build_layer: Build) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reference = state(build_layer())
    initialized = state(build_initialized(build_layer, seed=1))
    assert initialized.keys() == reference.keys()
    for name, expected in reference.items():
        value = initialized[name]
        assert (value.shape, value.dtype, value.device) == (expected.shape, expected.dtype, expected.device)
        if expected.min() == expected.max():
            assert torch.equal(value, expected), name
            continue
        # equal distributions: their quantiles differ by no more than those of two samples would
        levels = torch.linspace(0, 1, 21)
        scale = expected.abs().max()
        difference = (value.flatten().quantile(levels) - expected.flatten().quantile(levels)).abs().max()
        assert difference < 4 * scale / math.sqrt(value.numel()), name
        spread = 4 / math.sqrt(value.numel())
        assert value.std().item() == pytest.approx(expected.std().item(), rel=spread)
        assert value.abs().max().item() == pytest.approx(scale.item(), rel=0.01)


@pytest.mark.parametrize(("build_layer", "fan_in"), [(LAYERS["linear"], 50), (LAYERS["3x3 convolution"], 27)])
def test_weights_and_biases_are_uniform_up_to_the_root_of_the_fan_in(build_layer: Build, fan_in: int) -> None:
    for value in state(build_initialized(build_layer, seed=0)).values():
        assert value.abs().max() <= 1 / math.sqrt(fan_in)
        assert value.std().item() == pytest.approx(1 / math.sqrt(3 * fan_in), rel=0.05)
        assert value.mean().item() == pytest.approx(0, abs=5 / math.sqrt(3 * fan_in * value.numel()))


@pytest.mark.parametrize(
    ("layer", "bound"),
    [("3x3 convolution", math.sqrt(6 / 27)), ("linear", math.sqrt(6 / (50 + 2000)))],
)
def test_he_and_glorot_are_uniform_up_to_their_bounds(layer: str, bound: float) -> None:
    network = build_initialized(LAYERS[layer], seed=0, initialize=he_and_glorot)
    weight, bias = network.parameters()
    assert weight.abs().max().item() == pytest.approx(bound, rel=1e-3)
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    # only the weights are drawn their way
    assert bias.abs().max().item() == pytest.approx(1 / math.sqrt(weight[0].numel()), rel=0.01)


@pytest.mark.parametrize(
    ("model", "as_he"),
    [(CNN4(), True), (CNN8(), True), (ResNet34(width=4, initial="he"), True), (ResNet34(width=4), False)],
    ids=str,
)
def test_the_networks_of_ma_et_al_start_as_theirs(model: Network, as_he: bool) -> None:
    network = model.initialized((3, 8, 8), 10, seed=0)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            fan_out, fan_in = len(layer.weight), layer.weight[0].numel()
            he = 6 / fan_in if isinstance(layer, nn.Conv2d) else 6 / (fan_in + fan_out)
            bound = math.sqrt(he if as_he else 1 / fan_in)
            assert 0.9 * bound < layer.weight.abs().max().item() <= bound


# ------------------------------------------------------------------------------------------ the network


def test_nothing_is_left_unset(initialized: Initialized) -> None:
    network = initialized(0)
    for name, value in state(network).items():
        assert value.device == torch.device("cpu"), name
        assert value.isfinite().all(), name
        assert value.abs().max() <= 1, name  # uninitialized memory would hold anything
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            assert layer.num_batches_tracked is not None
            assert (layer.weight == 1).all()
            assert (layer.bias == 0).all()
            assert (layer.running_mean == 0).all()
            assert (layer.running_var == 1).all()
            assert layer.num_batches_tracked == 0


def test_the_network_is_ready_to_train(initialized: Initialized) -> None:
    network = initialized(0)
    assert network.training
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in network.parameters())


class Scale(nn.Module):
    """A layer with a parameter of its own beside a known one."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.factor = nn.Parameter(torch.ones(2))


@pytest.mark.parametrize(
    ("build_layer", "name"),
    [
        (partial(nn.BatchNorm3d, 4), "BatchNorm3d"),
        (partial(nn.LayerNorm, 4), "LayerNorm"),
        (partial(nn.Embedding, 4, 2), "Embedding"),
        (partial(nn.ConvTranspose2d, 2, 2, 3), "ConvTranspose2d"),
        (Scale, "Scale"),
    ],
    ids=str,
)
def test_a_layer_that_is_not_known_is_refused_wherever_it_is(build_layer: Build, name: str) -> None:
    for build in (
        build_layer,
        lambda: nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), build_layer())),
    ):
        with pytest.raises(TypeError, match=f"^do not know how to initialize a {name}$"):
            build_initialized(build, seed=0)
