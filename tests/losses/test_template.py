"""Loss texts with names where numbers stand: what is found, what is filled, and what is refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noiseproof.errors import NoiseproofError
from noiseproof.losses import CATALOGUE, Template, parse
from noiseproof.losses.base import hyperparameter_defaults, number_text


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        ("alpha*nce + beta*mae", {"alpha": ["a weight"], "beta": ["a weight"]}),
        ("nce*alpha", {"alpha": ["a weight"]}),
        ("gce(q=q)", {"q": ["q of gce"]}),
        ("NFL(gamma=g) + b*rce(A=-4)", {"g": ["gamma of nfl"], "b": ["a weight"]}),
        ("sce(alpha=alpha, A=A)", {"alpha": ["alpha of sce"], "A": ["A of sce"]}),
        ("w*(nce + 2*normalized(fl(gamma=g)))", {"w": ["a weight"], "g": ["gamma of fl"]}),
        ("a*forward(gce(q=q), noise='symmetric:0.4')", {"a": ["a weight"], "q": ["q of gce"]}),
        ("nfl(gamma=g) + w*nnfl(gamma=g)", {"g": ["gamma of nfl", "gamma of nnfl"], "w": ["a weight"]}),
        ("n*nce + c*ce + e*mae", {"n": ["a weight"], "c": ["a weight"], "e": ["a weight"]}),
    ],
)
def test_every_name_is_found_with_what_it_stands_for(text: str, roles: dict[str, list[str]]) -> None:
    found = Template(text).roles
    assert {name: [str(role) for role in stands_for] for name, stands_for in found.items()} == roles
    assert list(found) == list(roles)


@pytest.mark.parametrize(
    ("text", "values", "filled"),
    [
        ("alpha*nce + beta*mae", {"alpha": 2, "beta": 0.5}, "2*nce + 0.5*mae"),
        ("beta*mae + alpha*nce", {"alpha": 2, "beta": 0.5}, "2*nce + 0.5*mae"),
        ("alpha*nce", {"alpha": 1}, "nce"),
        ("rce(A=A)", {"A": -9.21}, "rce(A=-9.21)"),
        ("ce_*ce_eps(m=m)", {"ce_": 1e-7, "m": 1e5}, "1e-07*ce_eps(m=100000)"),  # a name within a name
        ("w*(nce + w*normalized(fl(gamma=w)))", {"w": 3}, "3*nce + 9*normalized(fl(gamma=3))"),
    ],
)
def test_numbers_take_the_names_places(text: str, values: dict[str, float], filled: str) -> None:
    template = Template(text)
    assert str(template.fill(values)) == filled
    assert str(template) == template.text == text


def test_options_reach_the_loss() -> None:
    loss = Template("a*nce").fill({"a": 2}, reduction="none", ignore_index=7)
    assert (loss.reduction, loss.ignore_index) == ("none", 7)


@st.composite
def with_holes(draw: st.DrawFn) -> tuple[str, str, dict[str, float]]:
    """A sum, as a template and as a text, and what is between them."""
    hole, plain = [], []
    values: dict[str, float] = {}

    def number(value: float) -> str:
        if draw(st.booleans()):
            return number_text(value)
        name = f"x{len(values)}"
        values[name] = value
        return name

    for loss in draw(st.lists(st.sampled_from(sorted(CATALOGUE)), min_size=1, max_size=4)):
        weight = draw(st.floats(1e-3, 1e3))
        before = number(weight)
        numbers = hyperparameter_defaults(CATALOGUE[loss])
        call = ", ".join(f"{name}={number(value)}" for name, value in numbers.items())
        hole.append(f"{before}*{loss}({call})")
        plain.append(f"{number_text(weight)}*{loss}")
    return " + ".join(hole), " + ".join(plain), values


@given(with_holes())
@settings(max_examples=50, deadline=None)
def test_a_filled_template_is_the_loss_without_holes(case: tuple[str, str, dict[str, float]]) -> None:
    template, plain, values = case
    if values:
        assert list(Template(template).roles) == list(values)
        assert str(Template(template).fill(values)) == str(parse(plain))
    else:
        with pytest.raises(NoiseproofError, match="has no free name"):
            Template(template)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("nce + mae", "loss 'nce + mae' has no free name; expected one where a number stands, such as"),
        ("alpha*ncee", "unknown loss 'ncee' at column 7; did you mean 'nce'?"),
        ("alpha*nce + mea", "unknown loss 'mea' at column 13; did you mean 'mae'?"),
        ("gce(r=q)", "'gce' has no hyperparameter 'r'"),
        ("gce(q=mae)", "'mae' is a loss, not a name for a number at column 7"),
        ("ce*mae", "expected a loss, a weight * a loss, or a sum of these at column 1"),
        ("rce(A=-a)", "a name stands for the whole number, sign and all, at column 7"),
        ("-a*ce", "a name stands for the whole number, sign and all, at column 1"),
        ("2*a*ce", "expected a loss"),
        ("lambda*ce", "cannot be read here"),
        ("a*ce.b", "expected a loss"),
        ("forward(a*ce, noise=b)", "noise must be in quotes"),
        ("0*ce + a*mae", "the weight must be a finite number > 0, got 0 at column 1"),
        ("", "a loss text is empty"),
    ],
)
def test_what_is_no_template_is_refused_in_one_line(text: str, fault: str) -> None:
    with pytest.raises(NoiseproofError) as refusal:
        Template(text)
    assert fault in str(refusal.value)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"alpha": 1}, "loss 'alpha*nce + gce(q=q)' needs a number for 'q'"),
        ({"alfa": 1, "q": 1}, "has no name 'alfa'; did you mean 'alpha'?"),
        ({"alpha": 0, "q": 1}, "the weight must be a finite number > 0, got 0 at column 1"),
        ({"alpha": math.nan, "q": 1}, "the weight must be a finite number > 0, got nan at column 1"),
        ({"alpha": 1, "q": 2}, "q of gce must be a number in (0, 1], got 2 at column 13"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(values: dict[str, float], fault: str) -> None:
    with pytest.raises(NoiseproofError) as refusal:
        Template("alpha*nce + gce(q=q)").fill(values)
    assert fault in str(refusal.value)


def test_without_a_template_a_name_is_no_number() -> None:
    with pytest.raises(NoiseproofError, match="expected a loss, a weight"):
        parse("alpha*nce")
    with pytest.raises(NoiseproofError, match="expected a number at column 7"):
        parse("gce(q=q)")
