"""Texts, study files and label arrays of every kind: a right answer, or an error of one line."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from noiseproof import losses, noise
from noiseproof.errors import NoiseproofError
from noiseproof.losses import CATALOGUE
from noiseproof.noise import HUMAN_LABELS, KINDS
from noiseproof.study import Study, load_study

LONGEST_ERROR = 4000
"""Characters; a loss of 1,000 may be quoted in full, each escaped."""


def fuzz(inputs: st.SearchStrategy[Any], check: Callable[[Any], None], number: int) -> None:
    """Check a number of inputs."""
    accepted = 0

    @settings(max_examples=number, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(inputs)
    def run(given: Any) -> None:
        nonlocal accepted
        try:
            check(given)
            accepted += 1
        except NoiseproofError as error:
            message = str(error)
        else:
            message = ""
        assert message.isprintable()
        assert len(message) <= LONGEST_ERROR

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run()
    assert accepted, "none was good"
    print(f"{number} tried, {accepted} of them good")


def often(quick: int, slow: int) -> pytest.MarkDecorator:
    """A few every time, many if asked for."""
    return pytest.mark.parametrize("number", [quick, pytest.param(slow, marks=pytest.mark.slow)])


def mutated(text: str, draw: st.DrawFn, pieces: st.SearchStrategy[str]) -> str:
    """Put a piece in place of some of a text, up to three times."""
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2, 3]))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(start + 6, len(text))))
        text = text[:start] + draw(pieces) + text[end:]
    return text


NUMBERS = st.sampled_from(
    [
        "0",
        "1",
        "-1",
        "0.5",
        "2.",
        "1e-400",
        "1e400",
        "-1e400",
        "nan",
        "inf",
        "1_0",
        "٣",
        "0.٤",
        "²",
        "0x1f",
        "1j",
    ]
) | st.one_of(st.integers(), st.floats(), st.just(10**400)).map(str)

ODD = st.sampled_from([
    "\0", "\n", "\r\n", "\t", " ", "", "\ud800", "\u202e", "é", "٠", "+", "-", "*", "(", ")", "[", "{", "=",
    ",", ":", "'", '"', "#", "\\", "lambda:", "await ", ":=", "**", "f'{1}'", "(" * 300, ")" * 300, "-" * 900,
    "x" * 5000,
])  # fmt: skip


# --------------------------------------------------------------------------------------------- losses


@st.composite
def loss_texts(draw: st.DrawFn) -> str:
    """A text by the grammar, with numbers and nesting of every kind, then perhaps damaged."""

    def named(draw: st.DrawFn) -> str:
        name = draw(st.sampled_from([*CATALOGUE]))
        symbols = list(CATALOGUE[name]().hyperparameters)
        given = [f"{symbol}={draw(NUMBERS)}" for symbol in symbols if draw(st.booleans())]
        return f"{name}({', '.join(given)})" if given else name

    text = named(draw)
    for _ in range(draw(st.integers(0, 4))):
        form = draw(st.integers(0, 4))
        if form == 0:
            text = f"{draw(NUMBERS)}*{text}"
        elif form == 1:
            text = f"{text} + {named(draw)}"
        elif form == 2:
            text = f"normalized({text})"
        elif form == 3:
            text = f"({text})"
        else:
            correction = draw(st.sampled_from(["forward", "backward"]))
            text = f"{correction}({text}, noise='{draw(noise_texts())}')"
    return mutated(text, draw, NUMBERS | ODD | st.text(max_size=3))


def check_loss(text: str) -> None:
    loss = losses.parse(text, reduction="none")
    assert str(losses.parse(str(loss))) == str(loss)
    logits = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]], requires_grad=True)
    values = loss(logits, torch.tensor([1, 2]))
    assert values.shape == (2,)
    values.sum().backward()


@often(150, 4000)
def test_any_loss_text_is_a_loss_or_refused(number: int) -> None:
    fuzz(loss_texts(), check_loss, number)


# --------------------------------------------------------------------------------------------- noises


@st.composite
def noise_texts(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(KINDS))
    rates = st.floats(0, 1).map(str)
    level = draw(st.sampled_from(HUMAN_LABELS) if kind == "human" else rates | rates | NUMBERS)
    text = draw(st.sampled_from([kind, f"{kind}:{level}", f" {kind.upper()} : {level}\n", level]))
    return mutated(text, draw, NUMBERS | ODD | st.text(max_size=3))


def check_noise(text: str) -> None:
    setting = noise.parse(text)
    assert noise.parse(str(setting)) == setting
    assert 0 <= setting.rate <= 1
    if setting.kind in noise.MATRICES:
        matrix = setting.transition_matrix(3, {0: 1})
        assert np.allclose(matrix.sum(axis=1), 1)


@often(150, 2000)
def test_any_noise_text_is_a_noise_or_refused(number: int) -> None:
    fuzz(noise_texts(), check_noise, number)


# --------------------------------------------------------------------------------------- study files

STUDY = """title = "tiny"
data = "digits"
losses = ["ce", "nce+mae"]
noises = ["symmetric:0.4"]
seeds = [0, 1]
[model]
name = "mlp"
hidden = [4]
[recipe]
epochs = 2
learning_rate = 0.1
"""

VALUES = [
    '"ce"', "''", "[]", "{}", "[[]]", "[{}]", "{a = 1}", "{a.b = [1, {c = 2}]}", "[1, 'a', 2.0]", "true",
    "false", "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "9999-99-99", "inf", "-inf", "nan", "+nan",
    "0", "-0", "-1", "1e400", "-1e-400", "0xff", "0o7", "0b1", "1_000", "01", "9" * 30, "9" * 5000,
    '"\\u0000"', '"\\ud800"', '"""\n"""', "'''\n'''", '"@long@"', "[" * 50 + "]" * 50,
    "@deep@", "@deeper@", "@losses@", "[0, 0]",
    "[18446744073709551615]", "[18446744073709551616]", "[0.0]", "['symmetric:0.4', 'symmetric:0.40']",
    "@many@",
]  # fmt: skip

LINES = [
    "[model]", "[[model]]", "[recipe]", "[recipe.epochs]", "[@dotted@]", "title = 1",
    "losses = 'ce'", "[model", "= 1", "\0", "\ufeff", "# é", "\ud800", "model.name = 'resnet18'",
    "model = {}", "seeds = 0", "recipe.epochs = 1", '"" = 1', '"\\n" = 1', "@long@ = 1",
    "hidden = [1000001]", "width = 64",
]  # fmt: skip


VAST = {
    "@long@": "x" * 100_000,
    "@deep@": "[" * 3000 + "]" * 3000,
    "@deeper@": "{a=" * 3000 + "1" + "}" * 3000,
    "@dotted@": "a" + ".a" * 2000,
    "@losses@": "[" + "'ce'," * 3000 + "]",
    "@many@": str(list(range(15_000))),
}
"""What a name stands for that would be too long to show."""


@st.composite
def study_files(draw: st.DrawFn) -> bytes:
    """A study with some values and lines put in place of others, perhaps no text in the end."""
    lines = STUDY.splitlines()
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(lines) - 1))
        key, equals, _ = lines[place].partition(" = ")
        form = draw(st.integers(0, 3))
        if form == 0 and equals:
            lines[place] = f"{key} = {draw(st.sampled_from(VALUES) | NUMBERS)}"
        elif form == 1:
            lines.insert(place, draw(st.sampled_from(LINES)))
        elif form == 2:
            lines[place : place + 1] = []
        else:
            lines[place] = mutated(lines[place], draw, ODD | st.text(max_size=3))
        lines = lines or [""]
    raw = "\n".join(lines).encode(errors="surrogatepass")
    return (
        raw if draw(st.integers(0, 20)) else draw(st.sampled_from([b"\xff", b"\xef\xbb\xbf", b""])) + raw[:50]
    )


@often(150, 2500)
def test_any_study_file_is_a_study_or_refused(number: int, tmp_path: Path) -> None:
    path = tmp_path / "study.toml"

    def check(raw: bytes) -> None:
        for name, vast in VAST.items():
            raw = raw.replace(name.encode(), vast.encode())
        path.write_bytes(raw)
        study = load_study(str(path))
        assert Study.model_validate_json(study.model_dump_json()) == study
        assert len(study.runs()) == len(study.losses) * len(study.noises) * len(study.seeds)

    fuzz(study_files(), check, number)


@pytest.mark.parametrize(
    "name", ["a\0.toml", "\ud800.toml", "a" * 5000 + ".toml", "/.toml", "..toml", "\n.toml"]
)
def test_any_name_of_a_study_file_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(NoiseproofError) as refused:
        load_study(name)
    assert str(refused.value).isprintable()


# -------------------------------------------------------------------------------------- label arrays

TORCH_DTYPES = {value for value in vars(torch).values() if isinstance(value, torch.dtype)}

SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=8)


@st.composite
def label_arrays(draw: st.DrawFn) -> Any:
    """Labels, mostly right ones, as lists, arrays and tensors of every dtype, shape and stride."""
    few = st.lists(st.integers(0, 2) | st.integers(-1, 3), max_size=12)
    form = draw(st.integers(0, 8))
    if form == 0:
        odd = st.integers() | st.floats() | st.booleans() | st.none() | st.text(max_size=2) | few
        return draw(st.lists(st.integers(0, 2) | odd, max_size=6))
    if form == 1:
        return draw(
            arrays.arrays(arrays.scalar_dtypes() | st.just(np.dtype(object)), SHAPES, fill=st.nothing())
        )
    if form == 2:
        return draw(
            st.sampled_from(
                [None, 1, "012", b"012", {0: 1}, {0, 1}, iter([0]), (0, 1, 2), object(), range(3)]
            )
        )
    values = np.array(draw(few), dtype=np.int64)
    if form == 3:
        return values.astype(draw(arrays.integer_dtypes() | arrays.unsigned_integer_dtypes()))
    if form == 4:
        return np.repeat(values, 3)[:: draw(st.sampled_from([-3, -1, 1, 3]))]
    if form == 5:
        return np.ma.array(values, mask=draw(arrays.arrays(bool, values.shape)))
    tensor = torch.from_numpy(values)
    if form == 6:
        try:
            return tensor.clamp(0, 2).to(
                draw(st.sampled_from(sorted(TORCH_DTYPES - {torch.complex32}, key=str)))
            )
        except (RuntimeError, NotImplementedError, TypeError):  # of packed bits
            return tensor
    if form == 7:
        return tensor.repeat_interleave(2)[::2].expand(draw(st.integers(1, 2)), -1).flip(0).squeeze(0)
    return draw(
        st.sampled_from([tensor.to("meta"), tensor.to_sparse(), tensor.float().requires_grad_(), tensor])
    )


def check_labels(labels: Any) -> None:
    noisy = noise.corrupt(labels, noise.symmetric(3, 0.4), seed=0)
    clean, found = (each.tolist() if hasattr(each, "tolist") else list(each) for each in (labels, noisy))
    assert len(clean) == len(found)
    assert set(clean) | set(found) <= {0, 1, 2}
    assert type(noisy) is (type(labels) if isinstance(labels, list | torch.Tensor) else np.ndarray)
    assert getattr(noisy, "dtype", None) == (None if isinstance(labels, list) else np_or_torch_dtype(labels))
    for k in range(3):  # exact: of each class 40 % flip, to the nearest
        members = [after for before, after in zip(clean, found, strict=True) if before == k]
        assert sum(after != k for after in members) == int(0.4 * len(members) + 0.5 + 1e-9)
    assert noise.audit(labels, noisy, num_classes=3).counts.sum() == len(clean)


def np_or_torch_dtype(labels: Any) -> Any:
    return labels.dtype if hasattr(labels, "dtype") else np.asarray(labels).dtype


@often(150, 1500)
def test_any_labels_are_corrupted_rightly_or_refused(number: int) -> None:
    fuzz(label_arrays(), check_labels, number)


@pytest.mark.parametrize(
    "labels",
    [
        np.array([1, 2], dtype="m8[s]"),
        np.array([2**63], dtype=np.uint64),
        np.ma.array([0, 1], mask=[False, True]),
        torch.zeros(2, dtype=torch.long, device="meta"),
    ],
    ids=lambda labels: f"{type(labels).__name__} of {labels.dtype}",
)
def test_what_only_looks_like_labels_is_refused(labels: Any) -> None:
    with pytest.raises(NoiseproofError, match=r"^labels must be "):
        noise.audit(labels, labels)


@pytest.mark.parametrize("none", [np.array([]), np.array([], dtype="M8[s]"), torch.tensor([])], ids=repr)
def test_no_labels_stay_no_labels_of_their_dtype(none: Any) -> None:
    noisy = noise.corrupt(none, noise.symmetric(3, 0.4), seed=0)
    assert (len(noisy), noisy.dtype, type(noisy)) == (0, none.dtype, type(none))


@pytest.mark.parametrize("seed", [None, 1.5, "1", -1])
def test_a_seed_that_is_none_is_refused(seed: Any) -> None:
    with pytest.raises(NoiseproofError, match=r"^a seed must be "):
        noise.corrupt([0, 1], noise.symmetric(2, 0.4), seed=seed)


def test_a_stray_label_does_not_take_all_memory() -> None:
    with pytest.raises(NoiseproofError, match="labels reach 1000000000; give num_classes"):
        noise.audit([0, 10**9], [0, 10**9])


@pytest.mark.parametrize(
    "matrix", [[[10**400, 0], [0, 1]], torch.eye(2, requires_grad=True)], ids=["vast", "grad"]
)
def test_a_matrix_that_numpy_cannot_read_is_refused(matrix: Any) -> None:
    with pytest.raises(NoiseproofError, match=r"^a transition matrix must be a square array of numbers: "):
        noise.corrupt([0, 1], matrix, seed=0)
