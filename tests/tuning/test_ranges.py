"""Where numbers are searched: the defaults are the losses' own, and what is asked for must fit them."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noiseproof.errors import NoiseproofError
from noiseproof.losses import CATALOGUE, Loss, Template, WeightedSum, parse, presets
from noiseproof.losses.base import hyperparameter_defaults
from noiseproof.tuning import Range
from noiseproof.tuning.ranges import DEFAULTS, WEIGHT, choose_ranges

PAGE = Path(__file__).parents[2] / "docs" / "tune.md"

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def test_every_hyperparameter_of_the_catalogue_has_a_range() -> None:
    known = {(loss, name) for loss, cls in CATALOGUE.items() for name in hyperparameter_defaults(cls)}
    assert {(loss, name) for loss, ranges in DEFAULTS.items() for name in ranges} == known


def test_the_documentation_lists_the_ranges() -> None:
    rows = re.findall(r"^\| (`.+`) \| (`.+`) \| `(.+?)`(, whole)? \|$", PAGE.read_text(), re.MULTILINE)
    listed = {
        (loss, name): (text, bool(whole))
        for names, of, text, whole in rows
        for name in re.findall(r"`(.+?)`", names)
        for loss in re.findall(r"`(.+?)`", of)
    }
    assert listed == {
        (loss, name): (str(range), range.whole)
        for loss, ranges in DEFAULTS.items()
        for name, range in ranges.items()
    }
    assert f"| a weight | any loss | `{WEIGHT}` |" in PAGE.read_text()


@pytest.mark.parametrize("loss", DEFAULTS)
def test_a_loss_takes_every_number_of_its_ranges(loss: str) -> None:
    ranges = DEFAULTS[loss]
    template = Template(f"{loss}({', '.join(f'{name}={name}' for name in ranges)})")
    assert choose_ranges(template, {}) == ranges
    grids = []
    for range in ranges.values():
        inside = [range.low + (range.high - range.low) * i / 7 for i in (0, 1, 2, 4, 6, 7)]
        grids.append([range.nearest(value) for value in inside])
    for values in itertools.product(*grids):
        template.fill(dict(zip(ranges, values, strict=True)))
    for name, default in hyperparameter_defaults(CATALOGUE[loss]).items():
        assert ranges[name].low <= default <= ranges[name].high


def test_the_ranges_hold_what_the_authors_chose() -> None:
    def terms(loss: Loss) -> list[Loss]:
        return [term for _, term in loss.weighted] if isinstance(loss, WeightedSum) else [loss]

    for preset in presets():
        for term in terms(parse(preset.loss)):
            for name, value in term.hyperparameters.items():
                range = DEFAULTS[term.name][name]
                assert range.low <= value <= range.high, (preset.method, name)


@pytest.mark.parametrize(
    ("text", "range"),
    [
        ("0.1:10:log", Range(low=0.1, high=10, log=True)),
        (" -10 : -1 ", Range(low=-10, high=-1)),
        ("1e-8:1e-3:log", Range(low=1e-8, high=1e-3, log=True)),
    ],
)
def test_a_range_is_read_from_its_text(text: str, range: Range) -> None:
    assert Range.parse(text) == range
    assert Range.parse(str(range)) == range


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "a range must be LOW:HIGH or LOW:HIGH:log, such as 0.1:10:log, got ''"),
        ("3", "got '3'"),
        ("1:x", "got '1:x'"),
        ("1:2:lin", "got '1:2:lin'"),
        ("1:2:log:log", "got '1:2:log:log'"),
        ("2:1", "range '2:1': the low end must be below the high one, got 2:1"),
        ("1:1", "the low end must be below the high one, got 1:1"),
        ("0:1:log", "a logarithmic range must be above 0, got 0:1:log"),
        ("1:inf", "range '1:inf': field 'high'"),
        ("nan:1", "range 'nan:1': field 'low'"),
    ],
)
def test_what_is_no_range_is_refused(text: str, fault: str) -> None:
    with pytest.raises(NoiseproofError) as refusal:
        Range.parse(text)
    assert fault in str(refusal.value)


@given(FINITE, FINITE, FINITE)
def test_the_nearest_number_is_near_short_and_within(low: float, high: float, value: float) -> None:
    if not low < high:
        return
    near = Range(low=low, high=high).nearest(value)
    assert low <= near <= high
    if low < value < high:
        assert abs(near - value) <= 1e-3 * abs(value)
        assert near in (low, high) or near == float(f"{near:.4g}")


@pytest.mark.parametrize(
    ("text", "given", "fault"),
    [
        ("alpha*nce", {"alfa": "1:2"}, "has no name 'alfa' to search; did you mean 'alpha'?"),
        ("a*gce(q=q)", {"q": "0.5:2"}, "at the high end of the ranges: loss 'a*gce(q=q)': q of gce must be"),
        ("a*nce", {"a": "0:2"}, "at the low end of the ranges: loss 'a*nce': the weight must be a finite"),
        ("aul(a=a, q=q)", {"a": "2:1e20", "q": "1:4"}, "must keep (a + 1)^q <= 1e+30"),
        ("a*gce(q=a)", {}, "'a' stands for unlike things (a weight, q of gce); give its range, LOW:HIGH"),
        ("tce(t=t)", {"t": "1:3.5"}, "range of 't': the ends must be whole numbers, got 1:3.5"),
    ],
)
def test_ranges_that_do_not_fit_the_loss_are_refused(text: str, given: dict[str, str], fault: str) -> None:
    with pytest.raises(NoiseproofError) as refusal:
        choose_ranges(Template(text), {name: Range.parse(range) for name, range in given.items()})
    assert fault in str(refusal.value)


def test_a_name_may_stand_for_the_same_thing_twice_or_for_anything_within_its_range() -> None:
    assert choose_ranges(Template("nfl(gamma=g) + nnfl(gamma=g)"), {})["g"] == DEFAULTS["nfl"]["gamma"]
    given = Range.parse("0.2:0.8")
    assert choose_ranges(Template("a*gce(q=a)"), {"a": given}) == {"a": given}
    assert choose_ranges(Template("tce(t=t)"), {"t": Range.parse("1:3")})["t"].whole
