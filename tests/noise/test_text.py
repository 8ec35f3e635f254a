"""Label noise as text: what is read, what is written back, and what is refused in one line."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from noiseproof.errors import NoiseproofError
from noiseproof.noise import HUMAN_LABELS, KINDS, MATRICES, Noise, asymmetric, pairflip, parse, symmetric

RATED = ["symmetric", "asymmetric", "pairflip"]
EVERY_KIND = "'symmetric', 'asymmetric', 'pairflip', 'none', 'instance', 'human', 'given'"


def test_the_kinds_are_those_tested_here() -> None:
    assert set(MATRICES) == {*RATED, "none"}
    assert set(KINDS) == {*MATRICES, "instance", "human", "given"}


@pytest.mark.parametrize(
    ("text", "noise", "written"),
    [
        ("symmetric:0.4", Noise("symmetric", 0.4), "symmetric:0.4"),
        ("asymmetric:0.3", Noise("asymmetric", 0.3), "asymmetric:0.3"),
        ("pairflip:0.2", Noise("pairflip", 0.2), "pairflip:0.2"),
        ("none", Noise("none", 0.0), "none"),
        ("  Symmetric : 0.40\n", Noise("symmetric", 0.4), "symmetric:0.4"),
        ("NONE", Noise("none", 0.0), "none"),
        ("instance:0.4", Noise("instance", 0.4), "instance:0.4"),
        ("given", Noise("given"), "given"),
        *((f"Human: {name}", Noise("human", variant=name), f"human:{name}") for name in HUMAN_LABELS),
        ("symmetric:.5", Noise("symmetric", 0.5), "symmetric:0.5"),
        ("symmetric:4e-1", Noise("symmetric", 0.4), "symmetric:0.4"),
        ("symmetric:1", Noise("symmetric", 1.0), "symmetric:1"),
        ("symmetric:0.0", Noise("symmetric", 0.0), "symmetric:0"),
        ("symmetric:-0.0", Noise("symmetric", 0.0), "symmetric:0"),
    ],
)
def test_a_text_is_written_back_in_one_form(text: str, noise: Noise, written: str) -> None:
    assert parse(text) == noise
    assert str(parse(text)) == written


@settings(max_examples=50, deadline=None)
@given(kind=st.sampled_from(RATED), rate=st.floats(0, 1))
def test_every_rate_reads_back_to_the_last_bit(kind: str, rate: float) -> None:
    noise = Noise(kind, rate)
    assert parse(str(noise)) == noise
    assert str(parse(str(noise))) == str(noise)


@pytest.mark.parametrize("rate", [np.float64(0.4), np.linspace(0, 1, 6)[2]], ids=["float64", "linspace"])
def test_a_rate_of_numpys_is_written_as_a_number(rate: float) -> None:
    assert str(Noise("symmetric", rate)) == "symmetric:0.4"


def test_each_kind_builds_its_own_matrix() -> None:
    class_map = {0: 3, 3: 0}
    for text, expected in (
        ("symmetric:0.4", symmetric(5, 0.4)),
        ("asymmetric:0.3", asymmetric(5, 0.3, class_map)),
        ("pairflip:0.2", pairflip(5, 0.2)),
        ("none", np.eye(5)),
    ):
        assert_array_equal(parse(text).transition_matrix(5, class_map), expected)


@pytest.mark.parametrize("text", ["instance:0.4", "human:worst", "given"])
def test_noise_that_is_no_matrix_says_so(text: str) -> None:
    with pytest.raises(
        NoiseproofError, match=f"^{text} noise has no transition matrix; expected one of 'symm"
    ):
        parse(text).transition_matrix(10, {})


def test_asymmetric_noise_without_a_class_map_is_refused() -> None:
    with pytest.raises(
        NoiseproofError, match=r"^asymmetric:0\.4 noise needs to know which class is mistaken"
    ):
        parse("asymmetric:0.4").transition_matrix(10, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("symetric:0.4", "noise 'symetric:0.4': unknown kind 'symetric'; did you mean 'symmetric'?"),
        ("Asymetric:0.4", "noise 'Asymetric:0.4': unknown kind 'asymetric'; did you mean 'asymmetric'?"),
        ("pair-flip:0.4", "noise 'pair-flip:0.4': unknown kind 'pair-flip'; did you mean 'pairflip'?"),
        ("non", "noise 'non': unknown kind 'non'; did you mean 'none'?"),
        (
            "0.4",
            f"noise '0.4': unknown kind '0.4'; expected one of {EVERY_KIND}",
        ),
        ("", f"noise '': unknown kind ''; expected one of {EVERY_KIND}"),
        ("given:0.4", "noise 'given:0.4': 'given' takes no rate"),
        ("human:wurst", "noise 'human:wurst': unknown human labels 'wurst'; did you mean 'worst'?"),
        (
            "human",
            "noise 'human': unknown human labels ''; expected one of 'aggregate', 'random1', 'random2',"
            " 'random3', 'worst', 'noisy'",
        ),
        (
            "instance:0",
            "noise 'instance:0': an instance-dependent noise rate must lie between 0 and 1, got 0",
        ),
        ("none:0.4", "noise 'none:0.4': 'none' takes no rate"),
        ("none:", "noise 'none:': 'none' takes no rate"),
    ]
    + [
        (
            f"pairflip{rest}",
            f"noise 'pairflip{rest}': expected a rate in [0, 1] after the colon, such as 'pairflip:0.4'",
        )
        for rest in ("", ":", ":x", ":0,4", ":0.4:0.2", ":40%", "::0.4")
    ]
    + [
        (
            f"symmetric:{rate}",
            f"noise 'symmetric:{rate}': a noise rate must be in [0, 1], got {got}{nearest}",
        )
        for rate, got, nearest in (
            ("1.2", "1.2", "; the nearest valid rate is 1"),
            ("40", "40", "; the nearest valid rate is 1"),
            ("-0.1", "-0.1", "; the nearest valid rate is 0"),
            ("inf", "inf", "; the nearest valid rate is 1"),
            ("nan", "nan", ""),
        )
    ],
)
def test_a_bad_text_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(NoiseproofError, match="^" + re.escape(message) + "$"):
        parse(text)


@pytest.mark.parametrize("text", ["symmetric\n:x\n0.4", "sym\nmetric:0.4", "symmetric:0.4\n0.2"])
def test_line_ends_within_a_text_stay_out_of_the_message(text: str) -> None:
    with pytest.raises(NoiseproofError) as caught:
        parse(text)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("text", [None, 0.4, b"symmetric:0.4", ["none"]], ids=str)
def test_what_is_no_text_is_refused(text: Any) -> None:
    message = f"a noise text must be a string such as 'symmetric:0.4', got {text!r}"
    with pytest.raises(NoiseproofError, match="^" + re.escape(message) + "$"):
        parse(text)
