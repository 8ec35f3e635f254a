"""The noise on the page: counted by hand, each draw once, and silent where nothing is known."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.image import imread

from noiseproof.noise import parse
from noiseproof.report.page.matrices import MOST_CLASSES, matrices, picture
from noiseproof.study import Record

MakeRecord = Callable[..., Record]


def test_draws_are_pooled_and_each_counts_once(make_record: MakeRecord) -> None:
    draws = {0: [[3, 1], [0, 4]], 1: [[1, 3], [2, 2]]}
    records = [
        make_record(
            loss,
            "symmetric:0.5",
            seed,
            about_data={"class_names": ["cat", "dog"], "class_map": {}},
            about_noise={"counts": counts, "requested_rate": 0.5, "achieved_rate": rate},
        )
        for loss in ("ce", "mae", "nce")
        for (seed, counts), rate in zip(draws.items(), (1 / 8, 5 / 8), strict=True)
    ]
    (made,) = matrices(records, [parse("symmetric:0.5")])
    assert (made.setting, made.classes, made.draws) == ("symmetric:0.5", ("cat", "dog"), 2)
    assert made.achieved == ((50.0, 50.0), (25.0, 75.0))
    assert made.requested == ((50.0, 50.0), (50.0, 50.0))
    assert (made.requested_wrong, made.wrong) == (50.0, 37.5)
    assert made.furthest == pytest.approx(25.0)
    assert made.has_figures


def test_who_is_mistaken_for_whom_comes_from_the_record(make_record: MakeRecord) -> None:
    record = make_record("ce", "asymmetric:0.25", about_data={"class_map": {"1": 0}})
    (made,) = matrices([record], [parse("asymmetric:0.25")])
    assert made.requested == ((100.0, 0.0), (25.0, 75.0))
    assert made.classes == ("0", "1")


@pytest.mark.parametrize("setting", ["asymmetric:0.25", "instance:0.5", "human:worst", "given"])
def test_without_a_matrix_that_was_asked_for_there_is_what_was_achieved(
    make_record: MakeRecord, setting: str
) -> None:
    record = make_record("ce", setting, about_noise={"requested_rate": None})  # of no class map
    (made,) = matrices([record], [parse(setting)])
    assert [made.requested, made.furthest, made.requested_wrong] == [None] * 3
    assert made.achieved == ((50.0, 50.0), (50.0, 50.0))


@pytest.mark.parametrize("setting", ["human:worst", "given", "none"])
def test_labels_that_nobody_drew_are_one_draw(make_record: MakeRecord, setting: str) -> None:
    records = [make_record("ce", setting, seed) for seed in range(3)]
    assert matrices(records, [parse(setting)])[0].draws == 1


def test_where_clean_labels_are_not_known_nothing_is_said(make_record: MakeRecord) -> None:
    unknown = {"counts": None, "requested_rate": None, "achieved_rate": None}
    (made,) = matrices([make_record("ce", "given", about_noise=unknown)], [parse("given")])
    assert [made.requested, made.achieved, made.wrong] == [None] * 3


def test_a_class_without_samples_has_no_shares(make_record: MakeRecord) -> None:
    record = make_record("ce", "symmetric:0.5", about_noise={"counts": [[0, 0], [2, 2]]})
    (made,) = matrices([record], [parse("symmetric:0.5")])
    assert made.achieved == ((None, None), (50.0, 50.0))
    assert made.furthest == 0.0


def test_a_setting_without_records_is_left_out(make_record: MakeRecord) -> None:
    assert matrices([make_record("ce", "symmetric:0.5")], [parse("symmetric:0.2")]) == ()


def test_many_classes_are_shades(make_record: MakeRecord) -> None:
    size = MOST_CLASSES + 1
    counts = [[9 if i == j else i % 2 for j in range(size)] for i in range(size)]
    record = make_record("ce", "symmetric:0.5", about_noise={"counts": counts})
    (made,) = matrices([record], [parse("symmetric:0.5")])
    assert not made.has_figures
    assert made.achieved is not None
    kind, encoded = picture(made.achieved).split(",")
    assert kind == "data:image/png;base64"
    pixels = imread(io.BytesIO(base64.b64decode(encoded)))
    expected = np.sqrt(np.divide(counts, np.sum(counts, axis=1, keepdims=True)))
    np.testing.assert_allclose(pixels[..., 3], expected, atol=1 / 255)
