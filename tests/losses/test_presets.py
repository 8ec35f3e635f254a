"""The authors' hyperparameters: they parse, they say where they are from, and they are found."""

from __future__ import annotations

import math
import re
from dataclasses import asdict

import pytest
import torch

from noiseproof import noise
from noiseproof.errors import NoiseproofError
from noiseproof.losses import ActivePassiveLoss, WeightedSum, find_preset, parse, preset, presets

NAMES = {"anl-ce": "nce+nnce", "anl-fl": "nfl+nnfl"}
"""What methods with a name of their own are sums of."""


# ------------------------------------------------------------------------------------------ every preset


def test_the_method_says_what_the_loss_is_a_sum_of() -> None:
    for entry in presets():
        loss = parse(entry.loss)
        terms = [term for _, term in loss.weighted] if isinstance(loss, WeightedSum) else [loss]
        assert "+".join(term.name for term in terms) == NAMES.get(entry.method, entry.method), entry


def test_the_loss_gives_a_value() -> None:
    for entry in presets():
        value = parse(entry.loss)(torch.zeros(2, 10), torch.tensor([3, 7]))
        assert 0 < value < math.inf, entry


def test_the_source_is_named() -> None:
    for entry in presets():
        assert re.fullmatch(r"\w+( et al\.| and \w+), [A-Za-z]+ \d{4}", entry.paper), entry
        assert re.fullmatch(r"github\.com/[\w-]+/[\w-]+, [0-9a-f]{7}, [\w./-]+", entry.code), entry


def test_the_names_are_in_the_form_that_they_are_looked_up_in() -> None:
    for entry in presets():
        assert entry.dataset in {"mnist", "cifar10", "cifar100", "webvision", "clothing1m"}, entry
        assert entry.method == entry.method.lower().replace(" ", ""), entry
        if ":" in entry.noise:
            assert str(noise.parse(entry.noise)) == entry.noise
        else:
            assert entry.noise in {"", *noise.KINDS}, entry


def test_each_is_found_by_its_own_names() -> None:
    for entry in presets():
        assert find_preset(entry.method, entry.dataset, entry.noise) == entry
        assert str(preset(entry.method, entry.dataset, entry.noise)) == str(parse(entry.loss))


def test_no_two_are_for_the_same() -> None:
    keys = [(entry.method, entry.dataset, entry.noise) for entry in presets()]
    assert len(set(keys)) == len(keys)


def test_a_preset_is_plain_data() -> None:
    assert set(asdict(presets()[0])) == {"method", "dataset", "noise", "loss", "l1", "paper", "code"}


def test_only_active_negative_losses_add_an_l1_norm() -> None:
    assert {entry.method for entry in presets() if entry.l1} == {"anl-ce", "anl-fl"}


def test_every_rce_has_the_authors_log_0() -> None:
    for entry in presets():
        for A in re.findall(r"A=(-[\d.]+)", entry.loss):
            assert math.isclose(float(A), math.log(1e-4)), entry
        assert ("rce" in entry.method or entry.method == "sce") == ("A=" in entry.loss), entry


# --------------------------------------------------------------------------------------------- the numbers

LOG_0 = math.log(1e-4)


@pytest.mark.parametrize(
    ("found", "loss"),
    [
        (preset("sce", "cifar100"), f"sce(alpha=6, beta=0.1, A={LOG_0})"),
        (preset("nce+agce", "cifar10"), "nce + 4*agce(a=6, q=1.5)"),
        (preset("anl-ce", "cifar10"), "5*nce + 5*nnce(p_min=1e-07)"),
        (preset("ce_eps+mae", "cifar10", "asymmetric"), "0.02*ce_eps(m=1000) + 5*mae"),
        (preset("ce_eps+mae", "cifar10", "instance:0.4"), "0.045*ce_eps(m=100000) + 10*mae"),
        (preset("fl_eps+mae", "cifar100", "instance:0.4"), "0.03*fl_eps(m=10000, gamma=0.1) + mae"),
        (preset("js", "cifar10", "symmetric:0.8"), "js(pi=0.9)"),
        (preset("nce+mae", "cifar100"), "10*nce + 0.5*mae"),  # the authors' MAE is 1 - p: half of ours
        (preset("nce+rce", "cifar100"), f"10*nce + 0.1*rce(A={LOG_0})"),
    ],
    ids=str,
)
def test_the_numbers_are_the_authors(found: object, loss: str) -> None:
    assert str(found) == loss


def test_the_l1_norms_are_the_authors() -> None:
    assert find_preset("anl-ce", "cifar10").l1 == 5e-5
    assert find_preset("anl-fl", "cifar100").l1 == 5e-7
    assert find_preset("nce+agce", "cifar10").l1 == 0


def test_the_weights_of_an_apl_are_read_as_such() -> None:
    loss = preset("nce+mae", "cifar100")
    assert isinstance(loss, ActivePassiveLoss)
    assert (loss.alpha, loss.beta) == (10, 0.5)


# --------------------------------------------------------------------------------------------------- lookup


def test_options_are_passed_on() -> None:
    loss = preset("nce+mae", "cifar10", reduction="sum", ignore_index=3, weight=torch.ones(10))
    assert (loss.reduction, loss.ignore_index) == ("sum", 3)
    assert loss.weight is not None


def test_case_and_white_space_do_not_count() -> None:
    assert find_preset(" NCE + AGCE", "CIFAR10 ") == find_preset("nce+agce", "cifar10")
    assert find_preset("JS", "cifar10", "Symmetric: 0.4") == find_preset("js", "cifar10", "symmetric:0.4")


@pytest.mark.parametrize(
    ("method", "dataset", "asked", "found"),
    [
        ("js", "cifar100", "symmetric:0.4", "symmetric:0.4"),  # exactly
        ("ce_eps+mae", "cifar10", "symmetric:0.6", "symmetric"),  # by kind
        ("ce_eps+mae", "cifar10", "asymmetric", "asymmetric"),
        ("ce_eps+mae", "webvision", "", ""),
        ("nce+mae", "cifar10", "symmetric:0.6", ""),  # for any
        ("nce+mae", "cifar10", "none", ""),
    ],
)
def test_noise_is_looked_up_exactly_then_by_kind_then_for_any(
    method: str, dataset: str, asked: str, found: str
) -> None:
    assert find_preset(method, dataset, asked).noise == found


def test_a_rate_is_a_number_however_it_is_written() -> None:
    expected = find_preset("js", "cifar10", "symmetric:0.4")
    for text in ("symmetric:0.40", "symmetric:.4", "symmetric:4e-1"):
        assert find_preset("js", "cifar10", text) == expected


# -------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("method", "dataset", "asked", "message"),
    [
        ("nce+agc", "cifar10", "", "no preset for 'nce+agc'; did you mean 'nce+agce'?"),
        ("zzz", "cifar10", "", "no preset for 'zzz'; expected one of 'gce', 'sce', 'fl', "),
        ("nce+agce", "cifar", "", "no preset for nce+agce on 'cifar'; did you mean 'cifar10'?"),
        ("js", "svhn", "", "no preset for js on 'svhn'; expected one of 'cifar10', 'cifar100'"),
        (
            "ce_eps+mae",
            "cifar10",
            "",
            "no preset for ce_eps+mae on cifar10: it depends on the noise, which was not given;"
            " known are symmetric, asymmetric, instance",
        ),
        (
            "js",
            "cifar10",
            "symmetric:0.5",
            "no preset for js on cifar10: noise 'symmetric:0.5'; known are symmetric:0.2, symmetric:0.4,"
            " symmetric:0.6, symmetric:0.8, asymmetric:0.2, asymmetric:0.4",
        ),
        ("js", "cifar10", "pairflip:0.2", "no preset for js on cifar10: noise 'pairflip:0.2'; known are "),
    ],
)
def test_what_is_not_known_is_refused_with_what_is(
    method: str, dataset: str, asked: str, message: str
) -> None:
    for lookup in (preset, find_preset):
        with pytest.raises(NoiseproofError, match="^" + re.escape(message)) as refusal:
            lookup(method, dataset, asked)
        assert str(refusal.value).isprintable()


@pytest.mark.parametrize("asked", ["symetric:0.4", "symmetric:2", "symmetric:x"])
def test_noise_that_is_none_is_refused_even_where_it_does_not_matter(asked: str) -> None:
    with pytest.raises(NoiseproofError, match="noise"):
        find_preset("nce+mae", "cifar10", asked)
