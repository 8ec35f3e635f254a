"""Checkpoints: a run that goes on from one is the uninterrupted run; a damaged file is refused."""

from __future__ import annotations

import hashlib
import io
import pickle
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from noiseproof.data import Dataset
from noiseproof.errors import NoiseproofError
from noiseproof.models import Model
from noiseproof.training import Checkpoint, History, Recipe, Run, StackedTraining
from noiseproof.training.checkpoint import MAGIC, load, save

Begin = Callable[[Sequence[Run]], StackedTraining]
MakeRun = Callable[..., Run]

STATES = ("parameters", "buffers", "momentum", "counts")
FACTS = ("identity", "step", "history")


def assert_same(checkpoints: Sequence[Checkpoint], expected: Sequence[Checkpoint]) -> None:
    """Equal to the last bit, but for the seconds."""
    for ours, theirs in zip(checkpoints, expected, strict=True):
        assert {name: getattr(ours, name) for name in FACTS} == {
            name: getattr(theirs, name) for name in FACTS
        }
        for name in STATES:
            state, other = getattr(ours, name), getattr(theirs, name)
            assert state.keys() == other.keys()
            for key, value in state.items():
                assert value.dtype is other[key].dtype
                assert torch.equal(value, other[key]), f"{name}: {key}"


def through_files(checkpoints: Sequence[Checkpoint], folder: Path) -> list[Checkpoint]:
    paths = [folder / f"{i}.pt" for i in range(len(checkpoints))]
    for checkpoint, path in zip(checkpoints, paths, strict=True):
        save(checkpoint, path)
    return [load(path) for path in paths]


def advance(training: StackedTraining, *, until: int | None = None) -> StackedTraining:
    while not training.finished and training.step != until:
        training.advance()
    return training


# --------------------------------------------------------------------------------------------- going on


@pytest.fixture
def runs(make_run: MakeRun) -> list[Run]:
    return [make_run("ce"), make_run("nce + mae", seed=1), make_run("rce", seed=1, wrong=0)]


@pytest.mark.parametrize("members", [[0], [1, 2], [0, 1, 2]], ids=["alone", "one seed", "two seeds"])
def test_a_resumed_training_is_the_uninterrupted_one_to_the_last_bit(
    dataset: Dataset, recipe: Recipe, runs: list[Run], begin: Begin, members: list[int], tmp_path: Path
) -> None:
    chosen = [runs[i] for i in members]
    epoch = recipe.steps_per_epoch(len(dataset.train_labels))
    total = recipe.total_steps(len(dataset.train_labels))
    training, taken = begin(chosen), {}
    for step in (0, 1, epoch, 2 * epoch - 1, 2 * epoch + 2, total):
        taken[step] = advance(training, until=step).checkpoints
    expected = advance(begin(chosen)).checkpoints
    assert_same(taken[total], expected)
    for step, stopped in taken.items():
        resumed = begin(chosen)
        resumed.restore(through_files(stopped, tmp_path))
        assert resumed.step == step
        assert_same(resumed.checkpoints, stopped)
        assert_same(advance(resumed).checkpoints, expected)


@pytest.mark.parametrize("network", ["mlp"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_training_resumed_again_and_again_is_the_uninterrupted_one(
    dataset: Dataset, model: Model, recipe: Recipe, runs: list[Run], tmp_path: Path, momentum: float
) -> None:
    changed = Recipe(**recipe.model_dump() | {"momentum": momentum})

    def begin() -> StackedTraining:
        return StackedTraining(dataset, model, changed, runs, torch.device("cpu"))

    expected = advance(begin()).checkpoints
    training = begin()
    while not training.finished:
        checkpoints = through_files(training.checkpoints, tmp_path)
        training = begin()
        training.restore(checkpoints)
        training.advance()
    assert_same(training.checkpoints, expected)


@pytest.mark.parametrize("network", ["mlp"])
def test_taking_checkpoints_changes_nothing_and_they_stay_as_taken(
    runs: list[Run], begin: Begin, tmp_path: Path
) -> None:
    training = begin(runs)
    taken, stored = [], []
    while not training.finished:
        taken.append(training.checkpoints)
        stored.append(through_files(taken[-1], tmp_path))
        training.advance()
    assert_same(training.checkpoints, advance(begin(runs)).checkpoints)
    for checkpoints, expected in zip(taken, stored, strict=True):
        assert_same(checkpoints, expected)


def test_going_on_leaves_the_checkpoint_as_it_was(runs: list[Run], begin: Begin) -> None:
    first = advance(begin(runs), until=3).checkpoints
    again = advance(begin(runs), until=3).checkpoints
    training = begin(runs)
    training.restore(first)
    advance(training)
    assert_same(first, again)


@pytest.mark.parametrize(
    ("network", "precision"),
    [("mlp", "single"), ("mlp", "double"), ("resnet", "double")],
    indirect=["precision"],
)
def test_a_run_goes_on_in_any_other_stack(
    runs: list[Run],
    begin: Begin,
    same_state: Callable[..., None],
    same_history: Callable[..., None],
) -> None:
    stopped = advance(begin(runs), until=7).checkpoints
    expected = advance(begin(runs)).checkpoints
    for members in ([1], [2, 0], [2, 1, 0], [1, 1, 0]):
        training = begin([runs[i] for i in members])
        training.restore([stopped[i] for i in members])
        for i, state in zip(members, advance(training).checkpoints, strict=True):
            assert (state.identity, state.step) == (expected[i].identity, expected[i].step)
            same_state(state.parameters, expected[i].parameters)
            same_state(state.buffers, expected[i].buffers)
            same_state(state.momentum, expected[i].momentum)
            same_history(state.history, expected[i].history)


@pytest.mark.parametrize("network", ["mlp"])
def test_the_seconds_go_on_counting(runs: list[Run], begin: Begin) -> None:
    stopped = advance(begin(runs), until=5)
    checkpoints = stopped.checkpoints
    assert {checkpoint.seconds for checkpoint in checkpoints} == {stopped.seconds}
    resumed = begin(runs)
    resumed.restore(checkpoints)
    resumed.advance()
    assert resumed.seconds > stopped.seconds


@pytest.mark.parametrize("network", ["mlp"])
def test_checkpoints_of_different_steps_cannot_go_on_together(runs: list[Run], begin: Begin) -> None:
    early, late = advance(begin(runs), until=1).checkpoints, advance(begin(runs), until=2).checkpoints
    with pytest.raises(ValueError, match="unpack"):
        begin(runs).restore([early[0], late[1], late[2]])


# ----------------------------------------------------------------------------------------------- files

CHECKPOINT = Checkpoint(
    identity="of this run",
    step=7,
    seconds=1.25,
    parameters={"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([-0.0, torch.inf])},
    buffers={"num_batches_tracked": torch.tensor(3), "running_mean": torch.rand(2).double()},
    momentum={"weight": torch.full((2, 3), torch.nan), "bias": torch.zeros(2)},
    counts={"loss": torch.tensor(0.1, dtype=torch.float64), "right": torch.tensor(5)},
    history=History(
        train_loss=(0.1, None),
        clean=(0.2, 1 / 3),
        given=(0.5, 0.5),
        right=(1.0, 0.0),
        recovered=(None, None),
        memorized=(None, None),
        test=(0.25, 0.75),
    ),
)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A whole file's bytes."""
    path = tmp_path_factory.mktemp("whole") / "run.pt"
    save(CHECKPOINT, path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], None]:
    """``(content)``: a file of that content must be refused by an error that names it."""
    path = tmp_path_factory.mktemp("damaged") / "run.pt"

    def check(content: bytes) -> None:
        path.write_bytes(content)
        with pytest.raises(NoiseproofError, match=re.escape(str(path))) as caught:
            load(path)
        assert "\n" not in str(caught.value)

    return check


def with_checksum(content: bytes) -> bytes:
    return MAGIC + hashlib.sha256(content).digest() + content


def as_torch_saves_it(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def bits(value: Tensor) -> tuple[torch.dtype, torch.Size, bytes]:
    return value.dtype, value.shape, value.numpy().tobytes()


def test_a_checkpoint_reads_back_to_the_last_bit(tmp_path: Path) -> None:
    save(CHECKPOINT, tmp_path / "run.pt")
    read = load(tmp_path / "run.pt")
    for name, value in vars(CHECKPOINT).items():
        if name in STATES:
            restored = getattr(read, name)
            assert {key: bits(v) for key, v in restored.items()} == {key: bits(v) for key, v in value.items()}
        else:
            assert getattr(read, name) == value


def test_saving_replaces_the_file_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    path.write_bytes(b"before")
    save(CHECKPOINT, path)
    assert list(tmp_path.iterdir()) == [path]
    assert load(path).identity == "of this run"


def test_a_save_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    save(CHECKPOINT, path)
    before = path.read_bytes()
    unpicklable = Checkpoint(**vars(CHECKPOINT) | {"identity": lambda: None})
    with pytest.raises((pickle.PicklingError, AttributeError)):
        save(unpicklable, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
@example(share=0.0)
def test_a_truncated_file_is_refused(stored: bytes, refused: Callable[[bytes], None], share: float) -> None:
    refused(stored[: int(share * len(stored))])


@pytest.mark.parametrize("length", [1, len(MAGIC) - 1, len(MAGIC), len(MAGIC) + 31, len(MAGIC) + 32, -1])
def test_a_file_cut_at_the_joints_of_its_format_is_refused(
    stored: bytes, refused: Callable[[bytes], None], length: int
) -> None:
    refused(stored[:length])


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@example(place=0.0, bit=0)
def test_a_file_with_a_flipped_bit_is_refused(
    stored: bytes, refused: Callable[[bytes], None], place: float, bit: int
) -> None:
    damaged = bytearray(stored)
    damaged[int(place * len(stored))] ^= 1 << bit
    refused(bytes(damaged))


def test_what_is_no_checkpoint_is_refused(stored: bytes, refused: Callable[[bytes], None]) -> None:
    for content in (
        b"",
        b"not a checkpoint",
        MAGIC,
        MAGIC.replace(b"1", b"2") + stored[len(MAGIC) :],
        stored[len(MAGIC) :],
        stored + b"\0",
        b"\n" + stored,
        as_torch_saves_it({"step": 1}),
    ):
        refused(content)


@pytest.mark.parametrize(
    "change",
    [
        {"step": None},
        {"momentum": None},
        {"history": None},
        {"history": {}, "more": 1},
        {"history": {"test": ["much"]}},
        {"history": {"tests": []}},
        {"history": [1, 2]},
    ],
    ids=str,
)
def test_whole_files_of_other_fields_are_refused(
    refused: Callable[[bytes], None], change: dict[str, Any]
) -> None:
    """None stands for a field left out."""
    content = vars(CHECKPOINT) | {"history": CHECKPOINT.history.model_dump()} | change
    kept = {name: value for name, value in content.items() if value is not None}
    refused(with_checksum(as_torch_saves_it(kept)))


@pytest.mark.parametrize("content", [[], 3, "text", None, torch.zeros(2), {"history": {}}, {1: 2}], ids=repr)
def test_whole_files_of_something_else_are_refused(refused: Callable[[bytes], None], content: Any) -> None:
    refused(with_checksum(as_torch_saves_it(content)))


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=40))
@example(content=b"")
@example(content=b"PK\x03\x04")
def test_any_bytes_under_a_right_checksum_are_refused(
    refused: Callable[[bytes], None], content: bytes
) -> None:
    refused(with_checksum(content))


class Malicious:
    """Unpickled, it would write a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("place", ["whole", "identity", "history", "parameters", "bare pickle"])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(
    refused: Callable[[bytes], None], tmp_path: Path, place: str
) -> None:
    target = tmp_path / "written"
    payload = Malicious(target)
    content = vars(CHECKPOINT) | {"history": CHECKPOINT.history.model_dump()}
    if place == "bare pickle":
        raw = pickle.dumps(payload, protocol=2)
        pickle.loads(raw)
        assert target.exists(), "the payload must work, or its refusal would prove nothing"
        target.unlink()
    else:
        raw = as_torch_saves_it(payload if place == "whole" else content | {place: payload})
    refused(with_checksum(raw))
    assert not target.exists()
