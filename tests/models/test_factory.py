"""Networks of one's own by import path: how they are called, what their weights are, what is refused."""

from __future__ import annotations

import hashlib
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from noiseproof.errors import NoiseproofError
from noiseproof.models import Factory, global_randomness

NETS = """
import random

import numpy as np
import torch
from torch import nn

AT_IMPORT = torch.rand(2), random.random(), np.random.rand()


def told(num_classes, image_shape, in_channels, *, width=5):
    network = nn.Sequential(nn.Flatten(), nn.LazyLinear(width), nn.ReLU(), nn.Linear(width, num_classes))
    network.told = num_classes, image_shape, in_channels
    return network


class Drawing(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.linear = nn.Linear(16, num_classes)
        self.register_buffer("drawn", torch.tensor([random.random(), np.random.rand()]))

    def forward(self, x):
        return self.linear(x.view(len(x), 16)) * self.drawn.sum()

    @classmethod
    def of_three(cls):
        return cls(3)


def anything(**options):
    return nn.Sequential(nn.Flatten(), nn.Linear(**options))


def no_network(): return 3
def fails(depth): raise RuntimeError("too\\n deep")
def wrong_classes(): return nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
def tuple_in_training(): return TupleInTraining(3)
def other_images(): return nn.Linear(99, 3)
def nothing_to_learn(): return nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(3))


class TupleInTraining(Drawing):
    def forward(self, x):
        logits = super().forward(x)
        return (logits, logits) if self.training else logits


ONE = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
def same(): return ONE
def partly_same(): return nn.Sequential(ONE, nn.Linear(3, 3))


def batch_normalized(): return nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.BatchNorm1d(3))


number = 3
"""

SHAPE = (1, 4, 4)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a module of networks in it; what a test imports from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_nets.py").write_text(NETS)
    (tmp_path / "broken.py").write_text("import torch\nraise KeyError('key')")
    (tmp_path / "needing.py").write_text("import a_package_that_is_not_there")
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name in ("my_nets", "broken", "needing"):
            del sys.modules[name]


def weights(network: nn.Module) -> dict[str, Tensor]:
    return dict(network.state_dict())


def global_draws() -> tuple[Any, ...]:
    return torch.rand(3).tolist(), random.random(), np.random.rand()


def test_what_cannot_be_trained_on_one_image_says_so_beforehand() -> None:
    fault = Factory(path="my_nets:batch_normalized").fault_on_one(SHAPE, 3)
    assert fault is not None
    assert fault.startswith("my_nets:batch_normalized's network on images (1, 1, 4, 4) raised ValueError: ")
    assert Factory(path="my_nets:told").fault_on_one(SHAPE, 3) is None


# --------------------------------------------------------------------------------------------- called


def test_a_factory_is_told_what_its_signature_names() -> None:
    network = Factory(path="my_nets:told", options={"width": 7}).build((3, 4, 5), 9)
    assert network.told == (9, (3, 4, 5), 3)
    assert [layer.out_features for layer in network.modules() if isinstance(layer, nn.Linear)] == [7, 9]


def test_ones_own_options_come_first() -> None:
    network = Factory(path="my_nets:told", options={"num_classes": 4}).build(SHAPE, 3)
    assert network.told[0] == 4  # type: ignore[index]


def test_what_takes_anything_is_told_its_options_alone() -> None:
    Factory(path="my_nets:anything", options={"in_features": 16, "out_features": 3}).check(SHAPE, 3)


def test_classes_their_methods_and_installed_modules_are_found() -> None:
    Factory(path="my_nets:Drawing").check(SHAPE, 5)
    Factory(path="my_nets:Drawing.of_three").check(SHAPE, 3)
    built = Factory(path="torch.nn:Linear", options={"in_features": 2, "out_features": 3}).build(SHAPE, 3)
    assert isinstance(built, nn.Linear)


def test_the_path_for_imports_is_left_as_it_was() -> None:
    before = list(sys.path)
    Factory(path="my_nets:told").check(SHAPE, 3)
    assert sys.path == before


# -------------------------------------------------------------------------------------------- weights


@pytest.mark.parametrize("name", ["told", "Drawing"])
def test_equal_seeds_give_equal_networks_and_others_do_not(name: str) -> None:
    model = Factory(path=f"my_nets:{name}")
    first = weights(model.initialized(SHAPE, 3, seed=2**64 - 1))
    assert_close(weights(model.initialized(SHAPE, 3, seed=2**64 - 1)), first, rtol=0, atol=0)
    for key, value in weights(model.initialized(SHAPE, 3, seed=1)).items():
        assert not torch.equal(value, first[key]), key


def test_weights_are_those_that_the_constructor_draws() -> None:
    network = Factory(path="my_nets:Drawing").initialized(SHAPE, 3, seed=4)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        expected = nn.Linear(16, 3)
    assert isinstance(network.linear, nn.Linear)
    assert torch.equal(network.linear.weight, expected.weight)
    assert torch.equal(network.linear.bias, expected.bias)
    assert network.training


def test_the_global_generators_are_left_as_they_were_by_import_and_all() -> None:
    with global_randomness(0):
        expected = global_draws()
    with global_randomness(0):
        assert "my_nets" not in sys.modules
        Factory(path="my_nets:Drawing").check(SHAPE, 3)
        assert global_draws() == expected


def test_the_global_generators_are_given_back_after_an_error_too() -> None:
    def failing() -> None:
        with global_randomness(1):
            global_draws()
            raise KeyError

    with global_randomness(0):
        expected = global_draws()
    with global_randomness(0):
        with pytest.raises(KeyError):
            failing()
        assert global_draws() == expected


# -------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("my_net:told", {}, "there is no module 'my_net' for 'my_net:told'; did you mean 'my_nets'?"),
        ("my_nets.sub:told", {}, "there is no module 'my_nets.sub' for 'my_nets.sub:told'"),
        ("my_nets:tol", {}, "'my_nets' has no 'tol', for 'my_nets:tol'; did you mean 'told'?"),
        ("my_nets:Drawing.of_tree", {}, "'my_nets' has no 'of_tree', for 'my_nets:Drawing.of_tree'; did you"),
        (
            "my_nets:number",
            {},
            "'my_nets:number' must be a function or class that gives a network, got a int",
        ),
        ("my_nets:no_network", {}, "my_nets:no_network() must give a torch.nn.Module, got a int"),
        ("my_nets:told", {"widht": 3}, "my_nets:told has no option 'widht'; did you mean 'width'?"),
        ("my_nets:no_network", {"width": 3}, "my_nets:no_network has no option 'width'; it takes none"),
        ("my_nets:fails", {"depth": 8}, "my_nets:fails(depth=8) raised RuntimeError: too deep"),
        ("my_nets:fails", {}, "my_nets:fails() raised TypeError: fails() missing 1 required"),
        ("my_nets:wrong_classes", {}, "my_nets:wrong_classes's network must turn images (2, 1, 4, 4) into"),
        ("my_nets:wrong_classes", {}, "logits (2, 3), got (2, 4)"),
        ("my_nets:tuple_in_training", {}, "logits (2, 3), got a tuple"),
        ("my_nets:other_images", {}, "my_nets:other_images's network on images (2, 1, 4, 4) raised Runtime"),
        ("my_nets:nothing_to_learn", {}, "my_nets:nothing_to_learn gives a network without a parameter"),
        ("my_nets:same", {}, "my_nets:same gave the same network twice; it must make a new one at each call"),
        ("my_nets:partly_same", {}, "my_nets:partly_same gave the same network twice"),
        ("broken:make", {}, "broken cannot be imported: KeyError: 'key'"),
        ("needing:make", {}, "needing cannot be imported: ModuleNotFoundError: No module named 'a_package_"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(
    path: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(NoiseproofError) as refused:
        Factory(path=path, options=options).check(SHAPE, 3)
    assert message in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    "path", ["", "my_nets", "my_nets:", ":told", "my nets:told", "my_nets:told()", "a..b:c"]
)
def test_a_path_of_another_form_is_refused(path: str) -> None:
    message = f"here: field 'path': {path!r} must be MODULE:NAME, such as 'my_nets:make'"
    with pytest.raises(NoiseproofError, match="^" + re.escape(message) + "$"):
        Factory.read({"path": path}, where="here")


@pytest.mark.parametrize("value", [float("nan"), {1: 2}, object(), (1,)], ids=lambda v: type(v).__name__)
def test_options_that_no_record_could_hold_are_refused(value: Any) -> None:
    with pytest.raises(NoiseproofError, match=r"here: field 'options\.p"):
        Factory.read({"path": "my_nets:told", "options": {"p": value}}, where="here")


def test_reading_a_record_imports_nothing(here: Path) -> None:
    (here / "canary.py").write_text("raise SystemExit")
    model = Factory.read({"path": "canary:make", "options": {"a": [1, {"b": None}]}}, where="here")
    assert Factory.model_validate_json(model.model_dump_json()) == model
    assert "canary" not in sys.modules


def test_a_network_is_built_for_the_first_time_in_a_folder_of_its_own(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = here / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    with pytest.raises(NoiseproofError, match=r"^there is no module 'my_nets' for 'my_nets:told'$"):
        Factory(path="my_nets:told").check(SHAPE, 3)


def test_code_of_ones_own_is_noted_and_a_change_is_noticed(here: Path) -> None:
    given = Factory(path="my_nets:told")
    first = given.pinned()
    assert (given.code, first.path) == (None, given.path)
    assert first.code == hashlib.sha256((here / "my_nets.py").read_bytes()).hexdigest()[:12]
    assert first.pinned() == first
    with (here / "my_nets.py").open("a") as file:
        file.write("\n# deeper\n")
    second = given.pinned()
    assert second.code not in (None, first.code)
    with pytest.raises(
        NoiseproofError, match=f"is other code than it was: {second.code}, expected {first.code}"
    ):
        first.pinned()


def test_code_of_a_package_is_known_by_its_version() -> None:
    assert Factory(path="torch.nn:Flatten").pinned().code is None
    assert Factory(path="math:sqrt").pinned().code is None


def test_pinning_leaves_the_global_random_states() -> None:
    before = torch.get_rng_state()
    Factory(path="my_nets:told").pinned()
    assert torch.equal(torch.get_rng_state(), before)
