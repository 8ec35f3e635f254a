"""Losses as text: what is read, what is written back, and what is refused in one line."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from noiseproof.errors import NoiseproofError
from noiseproof.losses import (
    CATALOGUE,
    ActivePassiveLoss,
    CrossEntropy,
    Loss,
    NormalizedLoss,
    WeightedSum,
    functional,
    parse,
)

# ---------------------------------------------------------------------------------------------- read


@pytest.mark.parametrize(
    ("text", "kind", "label"),
    [
        ("ce", CATALOGUE["ce"], "CE"),
        ("fl", CATALOGUE["fl"], "FL"),
        ("nce", CATALOGUE["nce"], "NCE"),
        ("nfl", CATALOGUE["nfl"], "NFL"),
        ("nfl+mae", ActivePassiveLoss, "NFL+MAE"),
        ("nfl+rce", ActivePassiveLoss, "NFL+RCE"),
        ("nce+mae", ActivePassiveLoss, "NCE+MAE"),
        ("nce+rce", ActivePassiveLoss, "NCE+RCE"),
    ],
)
def test_the_studys_eight_losses(text: str, kind: type[Loss], label: str) -> None:
    loss = parse(text)
    assert type(loss) is kind
    assert loss.label == label


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("NCE + Mae", "nce + mae"),
        ("  nce+mae\n", "nce + mae"),
        ("mae + nce", "nce + mae"),  # the active loss first
        ("rce + ce", "rce(A=-4) + ce"),  # no APL, so the order stays
        ("NFL()", "nfl(gamma=0.5)"),
        ("fl(gamma=2)", "fl(gamma=2)"),
        ("rce(A=-9.21)", "rce(A=-9.21)"),
        ("2*nce", "2*nce"),
        ("nce*2", "2*nce"),
        ("1*nce", "nce"),
        ("1e-3*ce", "0.001*ce"),
        ("(nce + mae)", "nce + mae"),
        ("2*(nce + 0.5*mae)", "2*nce + mae"),
        ("(ce + mae) + nce", "ce + mae + nce"),
        ("normalized(CE)", "normalized(ce)"),
        ("NORMALIZED(ce)", "normalized(ce)"),
        ("normalized(ce + mae) + 2*rce(A=-1)", "normalized(ce + mae) + 2*rce(A=-1)"),
    ],
)
def test_a_text_is_written_back_in_one_form(text: str, written: str) -> None:
    assert str(parse(text)) == repr(parse(text)) == written


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("fl(gamma=2)", "FL(gamma=2)"),
        ("rce(A=-4)", "RCE"),
        ("2*nfl + 0.5*mae", "2*NFL+0.5*MAE"),
        ("normalized(ce + mae)", "NORMALIZED(CE+MAE)"),
    ],
)
def test_a_label_leaves_defaults_out(text: str, label: str) -> None:
    assert parse(text).label == label


def test_reduction_and_ignore_index_reach_every_form() -> None:
    for text in ("ce", "nfl(gamma=1)", "2*ce", "nce + mae", "ce + mae", "normalized(ce)"):
        loss = parse(text, reduction="sum", ignore_index=7)
        assert (loss.reduction, loss.ignore_index) == ("sum", 7), text


def test_weights_and_hyperparameters_arrive(logits: Tensor, target: Tensor) -> None:
    loss = parse("2*nfl(gamma=2) + 0.5*(rce(A=-9) + mae)")
    nfl = functional.normalized_focal_loss(logits, target, gamma=2)
    rce = functional.reverse_cross_entropy(logits, target, A=-9)
    mae = functional.mean_absolute_error(logits, target)
    assert_close(loss(logits, target), 2 * nfl + 0.5 * rce + 0.5 * mae)


# ---------------------------------------------------------------------------------------- round trip


def assert_reads_back(loss: Loss) -> None:
    again = parse(str(loss))
    assert str(parse(str(again))) == str(again)
    logits = torch.tensor([[1.5, -0.5, 0.25], [-2.0, 0.0, 1.0]], dtype=torch.float64)
    target = torch.tensor([1, 2])
    assert_close(again(logits, target), loss(logits, target), rtol=1e-12, atol=0)


def test_every_loss_reads_back(loss: Loss) -> None:
    assert str(parse(str(loss))) == str(loss)
    assert_reads_back(loss)


HYPERPARAMETERS = {"gamma": st.floats(0, 10), "A": st.floats(-20, -1e-3)}
WEIGHTS = st.floats(1e-3, 1e3)


@st.composite
def named(draw: st.DrawFn) -> Loss:
    cls = CATALOGUE[draw(st.sampled_from(sorted(CATALOGUE)))]
    drawn: dict[str, Any] = {
        name: draw(HYPERPARAMETERS[name]) for name in cls().hyperparameters if name in HYPERPARAMETERS
    }
    return cls(**drawn)


def composed(inner: st.SearchStrategy[Loss]) -> st.SearchStrategy[Loss]:
    not_normalized = inner.filter(lambda loss: not isinstance(loss, NormalizedLoss))
    terms = st.lists(st.tuples(WEIGHTS.filter(lambda w: w != 1), inner), min_size=1, max_size=3)
    sums = terms.map(lambda pairs: WeightedSum([loss for _, loss in pairs], [w for w, _ in pairs]))
    return sums | not_normalized.map(NormalizedLoss)


LOSSES: st.SearchStrategy[Loss] = st.recursive(named(), composed, max_leaves=5)


@given(LOSSES)
@settings(max_examples=100, deadline=None)
def test_any_composition_reads_back(loss: Loss) -> None:
    assert_reads_back(loss)


@pytest.mark.parametrize("weights", [[1], [1, 1]])
def test_a_normalized_sum_of_normalized_losses_reads_back(weights: list[float]) -> None:
    assert_reads_back(NormalizedLoss(WeightedSum([parse("nce")] * len(weights), weights)))


# ------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("ncee+mae", "unknown loss 'ncee' at column 1; did you mean 'nce'?"),
        ("2*nce + mea", "unknown loss 'mea' at column 9; did you mean 'mae'?"),
        ("  nce + zzz", "unknown loss 'zzz' at column 7; expected one of 'ce', 'fl', "),
        ("nce + é + zzz", "unknown loss 'é' at column 7; expected one of "),
        ("normalized(é + zz)", "unknown loss 'é' at column 12; expected one of "),
        ("(ce +\n zz)", "unknown loss 'zz' at column 8; expected one of "),
        ("fl(gama=1)", "'fl' has no hyperparameter 'gama' at column 4; did you mean 'gamma'?"),
        ("é + 1", "unknown loss 'é' at column 1"),
        ("rce(A=-4) + rce(a=-4)", "'rce' has no hyperparameter 'a' at column 17"),
        ("ce(gamma=1)", "'ce' has no hyperparameter 'gamma' at column 4; it takes none"),
        ("fl(reduction=1)", "'fl' has no hyperparameter 'reduction' at column 4"),
        ("fl(**gamma)", "'fl' has no hyperparameter '**' at column 4"),
        ("nce + fl(0.5)", "hyperparameters of 'fl' must be named, such as 'fl(gamma=0.5)' at column 10"),
        ("fl(gamma=1, gamma=2)", "gamma"),
        ("fl(gamma='1')", "expected a number at column 10"),
        ("fl(gamma=True)", "expected a number at column 10"),
        ("fl(gamma=2j)", "expected a number at column 10"),
        ("fl(gamma=1+1)", "expected a number at column 10"),
        ("fl(gamma=nan)", "expected a number at column 10"),
        ("fl(gamma=1e999)", "must be a number >= 0, got inf at column 1"),
        ("ce + fl(gamma=-1)", "must be a number >= 0, got -1.0 at column 6"),
        ("rce(A=4)", "must be a number < 0 (it stands for log 0), got 4.0 at column 1"),
        ("nrce(A=0)", "must be a number < 0 (it stands for log 0), got 0.0 at column 1"),
        ("0*ce", "the weight must be a finite number > 0, got 0 at column 1"),
        ("ce + mae*-2", "the weight must be a finite number > 0, got -2 at column 10"),
        ("1e999*ce", "the weight must be a finite number > 0, got inf at column 1"),
        ("9" * 900 + "*ce", "the number is too large at column 1"),
        ("1e-300*(1e-300*ce)", "the weight of ce must be a number > 0, got 0.0"),
        ("True*ce", "expected"),
        ("'2'*ce", "expected a number at column 1"),
        ("ce*mae", "expected a loss, a weight * a loss, or a sum of these at column 1"),
        ("ce - mae", "expected a loss"),
        ("-ce", "expected a loss"),
        ("ce + 2", "expected a loss, a weight * a loss, or a sum of these at column 6"),
        ("ce, mae", "expected a loss"),
        ("ce.title", "expected a loss"),
        ("__import__('os').system('true')", "expected a loss"),
        ("normalized(nce)", "nce is normalized already at column 1"),
        ("normalised(ce)", "did you mean 'normalized'?"),
        ("nce + + * mae", "cannot be read here; expected a form such as 'nce + 2*mae' at column 9"),
        ("ce +", "cannot be read here; expected a form such as 'nce + 2*mae' at column 5"),
        ("nce+", "at column 5"),
        ("2nce", "a weight needs a * before the loss, '2*nce', at column 1"),
        ("ce + .5NFL(gamma=1)", "a weight needs a * before the loss, '.5*NFL', at column 6"),
        ("2fish", "cannot be read here"),
        ("ce; mae", "cannot be read here"),
        ("ce\0", "cannot be read"),
        ("\ud800", "cannot be read"),
        ("(" * 900, "cannot be read"),
        ("(" * 150 + "ce" + ")" * 150 + "+", "cannot be read"),
        ("", "a loss text is empty; expected one such as 'ce' or 'nce+mae'"),
        (" \n\t", "a loss text is empty"),
        ("ce" + " " * 1000, "a loss text may have at most 1000 characters, got 1002: 'ce "),
        (None, "a loss text must be a string such as 'nce+mae', got None"),
        (b"ce", "a loss text must be a string such as 'nce+mae', got b'ce'"),
        (CrossEntropy(), "got ce, which is a loss already"),
        (CrossEntropy, "got the class CrossEntropy; call it, CrossEntropy(), and it is a loss"),
        (["ce", "mae"], "a loss text must be a string such as 'nce+mae', got ['ce', 'mae']"),
        (np.zeros((3, 3)), "a loss text must be a string such as 'nce+mae', got "),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_loss_is_refused_in_one_line(text: str, fault: str) -> None:
    with pytest.raises(NoiseproofError) as refusal:
        parse(text)
    message = str(refusal.value)
    assert fault in message
    assert message.isprintable()  # so it is one line


def test_a_bad_reduction_is_named() -> None:
    with pytest.raises(
        NoiseproofError, match="unknown reduction 'avg'; expected one of 'none', 'mean', 'sum'"
    ):
        parse("ce", reduction="avg")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    ["-" * 988 + "1*ce", "ce" + "+ce" * 332, "ce" + "*2" * 499, "normalized(2*" * 70 + "ce" + ")" * 70],
    ids=lambda text: text[:12],
)
def test_the_deepest_texts_do_not_overflow_the_stack(text: str) -> None:
    assert_loss_or_one_line(text)


@pytest.mark.parametrize("text", ["1or 2", r"'\d'"])
def test_no_warning_leaks_from_pythons_parser(text: str) -> None:
    assert_loss_or_one_line(text)


# ---------------------------------------------------------------------------------------------- fuzz


def assert_loss_or_one_line(text: str) -> None:
    """Nothing else may happen: no other exception, and no warning from the parser underneath."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            loss = parse(text)
        except NoiseproofError as error:
            message = str(error)
            assert message.isprintable()
        else:
            assert isinstance(loss, Loss)
            assert str(loss)
    assert warned == []


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_loss_or_refused_in_one_line(text: str) -> None:
    assert_loss_or_one_line(text)


TOKENS = [*CATALOGUE, "normalized", "gamma", "A", *"()+*-=,.:@#'\"\\\n\0 é0123456789e_jx[]{}"]


@given(st.lists(st.sampled_from(TOKENS), max_size=12).map("".join))
@settings(max_examples=300, deadline=None)
def test_any_mix_of_tokens_is_a_loss_or_refused_in_one_line(text: str) -> None:
    assert_loss_or_one_line(text)


@given(LOSSES.map(str), st.data())
@settings(max_examples=200, deadline=None)
def test_any_mutation_of_a_loss_is_a_loss_or_refused_in_one_line(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(start + 4, len(text))))
    assert_loss_or_one_line(text[:start] + data.draw(st.sampled_from([*TOKENS, ""])) + text[end:])
