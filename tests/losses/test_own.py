"""Losses of one's own by import path: how they are read, what they compute, what is refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from noiseproof.errors import NoiseproofError
from noiseproof.losses import (
    ActivePassiveLoss,
    FocalLoss,
    GeneralizedCrossEntropy,
    NothingKnownError,
    OwnLoss,
    Template,
    WeightedSum,
    parse,
)
from noiseproof.losses.text import named, own_code

LOSSES = """
import torch
import torch.nn.functional as F
from torch import nn

from noiseproof.losses import CrossEntropy, Loss, MeanAbsoluteError


def squared(logits, target, *, k=2, scale=1.0):
    assert isinstance(k, int)
    p = logits.softmax(-1)
    return scale * ((p - F.one_hot(target, p.shape[-1])).abs() ** k).sum(-1)


class Focal(nn.Module):
    def __init__(self, gamma=0.5, reduction="mean"):
        super().__init__()
        self.gamma, self.reduction = gamma, reduction

    def forward(self, logits, target):
        values = F.cross_entropy(logits, target, reduction="none")
        values = (1 - (-values).exp()) ** self.gamma * values
        return values.mean() if self.reduction == "mean" else values


class Power(Loss):
    def __init__(self, *, q=0.7, **options):
        super().__init__(**options)
        if q <= 0:
            raise ValueError("q too\\n small")
        self.q = q

    def per_sample(self, log_p, target):
        return (1 - (self.q * log_p.gather(-1, target.unsqueeze(-1)).squeeze(-1)).exp()) / self.q


class Absolute(MeanAbsoluteError):
    pass


class Outer:
    inner = staticmethod(squared)


class Learning(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, logits, target):
        return self.weight * F.cross_entropy(logits, target, reduction="none")


made = CrossEntropy()
number = 3


def mean(logits, target): return F.cross_entropy(logits, target)
def by_class(logits, target): return logits.softmax(-1)
def text(logits, target): return "text"
def margin(logits, target): return 1 - logits.gather(1, target[:, None])[:, 0]
def by_chance(logits, target): return F.cross_entropy(logits, target, reduction="none") * torch.rand(())
def centred(logits, target):
    values = F.cross_entropy(logits, target, reduction="none")
    return values - values.mean()
def detached(logits, target): return F.cross_entropy(logits.detach(), target, reduction="none")
def fails(logits, target): raise RuntimeError("too\\n deep")
"""

LOGITS = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
TARGET = torch.tensor([0, 1, 2, 3, 4, 0])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with ``my_losses.py`` in it and ``breaking.py``, which can't be imported."""
    (tmp_path / "my_losses.py").write_text(LOSSES)
    (tmp_path / "breaking.py").write_text("raise RuntimeError('at\\n import')")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for module in ("my_losses", "breaking"):
        sys.modules.pop(module, None)


def test_a_function_is_a_loss() -> None:
    loss = parse("my_losses:squared(k=3)", reduction="none")
    logits = LOGITS.clone().requires_grad_()
    expected = ((logits.softmax(-1) - F.one_hot(TARGET, 5)).abs() ** 3).sum(-1)
    assert_close(loss(logits, TARGET), expected)
    assert_close(loss(LOGITS.view(2, 3, 5).movedim(2, 1), TARGET.view(2, 3)), expected.view(2, 3))
    (found,) = torch.autograd.grad(loss(logits, TARGET).sum(), logits)
    (wanted,) = torch.autograd.grad(expected.sum(), logits)
    assert_close(found, wanted)
    assert_close(deepcopy(loss)(LOGITS, TARGET), expected)


def test_a_module_is_asked_for_each_samples_value() -> None:
    expected = FocalLoss(gamma=2, reduction="sum")(LOGITS, TARGET)
    assert_close(parse("my_losses:Focal(gamma=2)", reduction="sum")(LOGITS, TARGET), expected)
    expected = F.cross_entropy(LOGITS, TARGET, label_smoothing=0.1)
    assert_close(parse("torch.nn:CrossEntropyLoss(label_smoothing=0.1)")(LOGITS, TARGET), expected)
    assert_close(parse("torch.nn.functional:cross_entropy(label_smoothing=0.1)")(LOGITS, TARGET), expected)


def test_a_loss_class_is_evaluated_as_it_says() -> None:
    expected = GeneralizedCrossEntropy(q=0.3)(LOGITS, TARGET)
    assert_close(parse("my_losses:Power(q=0.3)")(LOGITS, TARGET), expected)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2*nce + 0.5*my_losses:Power(q=0.3)", "2*nce + 0.5*gce(q=0.3)"),
        ("normalized(my_losses:Power(q=0.3))", "ngce(q=0.3)"),
        ("forward(my_losses:Power, noise='symmetric:0.4')", "forward(gce, noise='symmetric:0.4')"),
        ('backward(my_losses:Focal, noise="symmetric:0.4")', "backward(fl, noise='symmetric:0.4')"),
        ("my_losses:Power * 2", "2*gce"),
        ("(my_losses:Focal + 2*(my_losses:Power))", "fl + 2*gce"),
    ],
)
def test_it_stands_wherever_a_name_may(text: str, same: str) -> None:
    assert_close(parse(text)(LOGITS, TARGET), parse(same)(LOGITS, TARGET))


@pytest.mark.parametrize(
    ("text", "written", "label"),
    [
        (" my_losses:squared ", "my_losses:squared", "squared"),
        ("my_losses:squared(scale=2.0,k=3)", "my_losses:squared(k=3, scale=2)", "squared(k=3, scale=2)"),
        ("my_losses:Outer.inner", "my_losses:Outer.inner", "Outer.inner"),
        ("NCE+.5*my_losses:Power(q=1)", "nce + 0.5*my_losses:Power(q=1)", "NCE+0.5*Power(q=1)"),
        ("torch.nn:CrossEntropyLoss", "torch.nn:CrossEntropyLoss", "CrossEntropyLoss"),
    ],
)
def test_its_text_reads_back_imported_or_not(text: str, written: str, label: str) -> None:
    for read in (parse, named):
        loss = read(text)
        assert (str(loss), loss.label, str(read(str(loss)))) == (written, label, written)


def test_to_name_a_loss_imports_nothing() -> None:
    loss = named("nce + nowhere_to_be_found:Loss(k=2)")
    assert str(loss) == "nce + nowhere_to_be_found:Loss(k=2)"
    with pytest.raises(NoiseproofError, match="has only been named, not imported"):
        loss(LOGITS, TARGET)
    template = Template("a*nowhere_to_be_found:Loss(k=b)", imports=False)
    assert str(template.fill({"a": 2, "b": 0.5})) == "2*nowhere_to_be_found:Loss(k=0.5)"
    assert [role.default for (role,) in template.roles.values()] == [1, None]


def test_nothing_is_known_of_it_unless_it_tells() -> None:
    for text in (
        "my_losses:squared",
        "my_losses:Power",
        "my_losses:squared + nce",
        "normalized(my_losses:squared)",
    ):
        with pytest.raises(NothingKnownError, match="nothing is known of my_losses:"):
            parse(text).properties(10)
    assert type(parse("nce + my_losses:squared")) is WeightedSum
    told = parse("my_losses:Absolute + nce")
    assert isinstance(told, ActivePassiveLoss)
    assert isinstance(told.passive, OwnLoss)
    with pytest.raises(NoiseproofError, match="nothing is known of my_losses:squared"):
        ActivePassiveLoss(parse("nce"), parse("my_losses:squared"))


def test_names_stand_for_its_numbers() -> None:
    template = Template("a*nce + my_losses:squared(k=b, scale=c)")
    assert [(str(r), r.default) for (r,) in template.roles.values()] == [
        ("a weight", 1.0),
        ("k of my_losses:squared", 2),
        ("scale of my_losses:squared", 1.0),
    ]
    filled = template.fill({"a": 2, "b": 3, "c": 0.5})
    assert str(filled) == "2*nce + my_losses:squared(k=3, scale=0.5)"
    assert_close(filled(LOGITS, TARGET), parse(str(filled))(LOGITS, TARGET))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "my_loses:Power",
            "no module 'my_loses' for 'my_loses:Power'; did you mean 'my_losses'? at column 1",
        ),
        ("nce + my_losses:Powr", "'my_losses' has no 'Powr', for 'my_losses:Powr'; did you mean 'Power'?"),
        ("nce + my_losses:Powr", "at column 7"),
        ("breaking:Loss", "breaking cannot be imported: RuntimeError: at import at column 1"),
        (
            "my_losses:number",
            "must be a Loss class, or a function (logits, target) of one value a sample, got a int",
        ),
        ("my_losses:made", "is a loss already made; name its class"),
        ("my_losses:Learning", "has parameters of its own, which nothing would train"),
        (
            "my_losses:Power(p=2)",
            "'my_losses:Power' has no hyperparameter 'p' at column 17; expected one of 'q'",
        ),
        ("my_losses:mean(p=2)", "'my_losses:mean' has no hyperparameter 'p' at column 16; it takes none"),
        (
            "my_losses:Power(0.3)",
            "hyperparameters must be named, such as 'my_losses:MyLoss(k=2)' at column 17",
        ),
        ("my_losses:Power(q=b)", "expected a number at column 19"),
        ("my_losses:Power(q=-1)", "my_losses:Power(q=-1.0) raised ValueError: q too small at column 1"),
        (
            "my_losses.Power",
            "MODULE:NAME, such as 'my_losses:MyLoss', at column 1; did you mean 'my_losses:Power'?",
        ),
        ("my_losses: Power", "cannot be read here"),
        ("my_losses:", "cannot be read here"),
        ("my_losses:Power:q", "expected a loss; one of your own is MODULE:NAME"),
    ],
)
def test_what_is_no_loss_is_refused_in_one_line(text: str, fault: str) -> None:
    with pytest.raises(NoiseproofError) as refusal:
        parse(text)
    assert fault in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("mean", "must give one value a sample, (4,) for 4 labels, got one number for all"),
        ("by_class", "must give one value a sample, (4,) for 4 labels, got (4, 5)"),
        ("text", "must give one value a sample, (4,) for 4 labels, got a str"),
        ("margin", "must depend on softmax(logits) alone"),
        ("by_chance", "must depend on softmax(logits) alone, and not on chance"),
        ("centred", "must give each sample a value of its own"),
        ("detached", "gives values that have no gradient over the logits"),
        ("fails", "my_losses:fails on logits (4, 5) and labels (4,) raised RuntimeError: too deep"),
    ],
)
def test_a_function_that_no_loss_can_stand_for_is_refused(name: str, fault: str) -> None:
    for text in (f"my_losses:{name}", f"nce + 0.1*my_losses:{name}"):
        with torch.no_grad(), pytest.raises(NoiseproofError) as refusal:
            parse(text)(LOGITS, TARGET)
        assert fault in str(refusal.value)
        assert "\n" not in str(refusal.value)


def test_its_code_is_the_hash_of_its_file(here: Path) -> None:
    first = own_code(["ce", "nce + my_losses:Power", "my_losses:squared", "torch.nn:CrossEntropyLoss"])
    assert first.keys() == {"my_losses"}
    (here / "my_losses.py").write_text(LOSSES + "\n")
    assert own_code(["my_losses:Power"]).keys() == first.keys()
    assert own_code(["my_losses:Power"]) != first
    assert own_code(["nce + mae"]) == {}


def test_it_is_followed_by_vmap_and_the_compiler() -> None:
    loss = parse("nce + my_losses:squared", reduction="none")
    expected = loss(LOGITS, TARGET)
    one_by_one = torch.vmap(parse("nce + my_losses:squared", reduction="sum"))
    assert_close(one_by_one(LOGITS.unsqueeze(1), TARGET.unsqueeze(1)), expected)
    fresh = parse("nce + my_losses:squared", reduction="none")
    assert_close(torch.compile(fresh, backend="eager", fullgraph=True)(LOGITS, TARGET), expected)
