"""A study on Ray: the same records from tasks, checked nodes, and nothing lost with a node."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import cloudpickle
from ray.cluster_utils import Cluster

from noiseproof import data
from noiseproof.cluster import conduct_on_ray, driver
from noiseproof.cluster.node import Order, problem
from noiseproof.errors import NoiseproofError
from noiseproof.study import Archive, Progress, RunConfiguration, Study, conduct, load_study
from noiseproof.study.locks import Locks
from noiseproof.training import History

EPOCHS = 10
STEPS = EPOCHS * 12

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call] # nodes can't import it


class Slowly:
    """Makes every epoch take a while, and notes who trained it."""

    def __init__(self, log: Path, seconds: float) -> None:
        self.log = log
        self.seconds = seconds

    def __call__(self, config: RunConfiguration, history: History) -> None:
        node = ray.get_runtime_context().get_node_id()
        with self.log.open("a") as file:
            file.write(f"{config.id} {len(history)} {node}\n")
        time.sleep(self.seconds)


@pytest.fixture
def study() -> Study:
    changes = {"losses": ["ce", "nce"], "model": {"name": "mlp", "hidden": [4]}, "recipe.epochs": 2}
    return load_study("smoke", changes)


def results(out: Path) -> dict[str, dict[str, Any]]:
    return {
        name: record.model_dump(exclude={"provenance"}) for name, record in Archive(out).finished().items()
    }


def histories_are_close(found: Path, expected: Path) -> bool:
    """Equal but for rounding, where runs were stacked with others."""
    ours, theirs = Archive(found).finished(), Archive(expected).finished()
    return ours.keys() == theirs.keys() and all(
        values == pytest.approx(getattr(theirs[name].history, field), rel=1e-4, abs=0.01)
        for name, record in ours.items()
        for field, values in record.history
    )


# ------------------------------------------------------------------------------- what a node must have


@pytest.fixture
def order(study: Study, tmp_path: Path) -> Iterator[Order]:
    """What a driver that is at work orders."""
    with Locks(tmp_path / "locks") as locks:
        locks.announce("at work")
        fingerprint = data.load("digits", None).fingerprint
        yield Order(study, tmp_path, None, "cpu", fingerprint, locks.mark, None, lambda *_: None)


def test_a_node_that_has_everything_has_no_problem(order: Order) -> None:
    assert problem(order) is None


def test_what_a_node_lacks_is_named(order: Order, tmp_path: Path, study: Study) -> None:
    idle = tmp_path / "idle"
    idle.touch()
    missing = tmp_path / "nowhere"
    for wrong, expected in (
        (replace(order, version="0.0.1"), "has noiseproof 0.1.0, not 0.0.1"),
        (replace(order, mark=missing), f"does not see the folder {str(tmp_path)!r}: --out must be on a disk"),
        (replace(order, mark=idle), f"sees no locks in {str(tmp_path)!r}: --out must be on a file system"),
        (replace(order, study=load_study("cifar10"), data_dir=missing), f"{str(missing)!r} does not exist"),
        (replace(order, fingerprint="0" * 64), "has other files of digits ("),
    ):
        why = problem(wrong)
        assert why is not None
        assert why.startswith("node ")
        assert expected in why


def test_a_device_of_one_machine_is_refused(study: Study, tmp_path: Path) -> None:
    with pytest.raises(NoiseproofError, match="must be auto, cpu or cuda, got 'cuda:1'"):
        conduct_on_ray(study, tmp_path / "out", device="cuda:1")
    assert not (tmp_path / "out").exists()


def test_a_cluster_that_does_not_answer_is_named(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(NoiseproofError, match=r"no Ray cluster answers at RAY_ADDRESS='127\.0\.0\.1:1'"):
        conduct_on_ray(study, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_cluster_that_is_gone_is_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert driver._address() == "local"
    (tmp_path / "ray").mkdir()
    note = tmp_path / "ray" / "ray_current_cluster"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        note.write_text(f"127.0.0.1:{listening.getsockname()[1]}\n")
        assert driver._address() == note.read_text().strip()
    assert driver._address() == "local"


def test_without_ray_its_extra_is_named(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(NoiseproofError, match=r"pip install 'noiseproof\[ray\]'"):
        conduct_on_ray(study, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------- a real cluster


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Ray notes the last cluster of the machine, and a note of one that is gone disturbs the next."""
    yield
    ray.shutdown()
    Path("/tmp/ray/ray_current_cluster").unlink(missing_ok=True)


@pytest.fixture
def one_cpu(forgotten: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.usefixtures("one_cpu")
def test_a_study_on_ray_has_the_same_results(study: Study, tmp_path: Path) -> None:
    told: list[Progress] = []
    kept = conduct(study, tmp_path / "out", only=[study.runs()[0].id])
    before = results(tmp_path / "out")
    assert kept.ended == "finished"
    log = tmp_path / "log"
    outcome = conduct_on_ray(study, tmp_path / "out", on_progress=told.append, on_epoch=Slowly(log, 0))
    assert (outcome.ended, outcome.runs_done, outcome.runs_total) == ("finished", 4, 4)
    assert outcome.training_seconds > 0
    assert results(tmp_path / "out").items() > before.items()
    assert len(log.read_text().splitlines()) == 3 * 2
    assert told[-1].runs_done == 4
    conduct(study, tmp_path / "alone")
    assert histories_are_close(tmp_path / "out", tmp_path / "alone")
    assert list((tmp_path / "out" / "locks").iterdir()) == []
    assert conduct_on_ray(study, tmp_path / "out").training_seconds == 0  # nothing is left to do


@pytest.mark.slow
@pytest.mark.usefixtures("forgotten")
def test_a_cluster_of_two_nodes_of_which_one_is_killed(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    study = study.model_copy(update={"recipe": study.recipe.model_copy(update={"epochs": EPOCHS})})
    out, log = tmp_path / "out", tmp_path / "log"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    cluster.connect()  # type: ignore[no-untyped-call]
    try:
        # a node that lacks the data stops it before any training
        with monkeypatch.context() as patch:
            patch.setattr(driver, "load_data", lambda *_: data.load("digits", None))
            with pytest.raises(NoiseproofError, match=r"node .+ does not exist"):
                conduct_on_ray(load_study("cifar10"), tmp_path / "none", data_dir=tmp_path / "nowhere")

        # stopped politely, all that is under way is saved
        slowly = Slowly(log, 0.5)
        stopped = conduct_on_ray(study, out, interrupted=log.exists, on_epoch=slowly)
        assert (stopped.ended, stopped.runs_done) == ("interrupted", 0)
        reached = {name: checkpoint.step for name, checkpoint in Archive(out).under_way().items()}
        assert len(reached) in (2, 4)  # of the task, or of both of them
        assert all(0 <= step < STEPS for step in reached.values())

        # and so it is when the time is up
        assert conduct_on_ray(study, out, time_budget=4.0, on_epoch=slowly).ended == "out of time"
        later = {name: checkpoint.step for name, checkpoint in Archive(out).under_way().items()}
        assert all(reached[name] <= later[name] < STEPS for name in reached)
        assert results(out) == {}

        # and a node that is killed takes nothing with it
        log.unlink()

        def kill(_: Progress) -> None:
            busy = {line.split()[2] for line in log.read_text().splitlines()} if log.exists() else set()
            if len(busy) == 2 and len(nodes) == 2:
                cluster.remove_node(nodes.pop(), allow_graceful=False)

        outcome = conduct_on_ray(study, out, on_progress=kill, on_epoch=slowly)
        assert len(nodes) == 1
        assert (outcome.ended, outcome.runs_done) == ("finished", 4)
    finally:
        ray.shutdown()
        cluster.shutdown()  # type: ignore[no-untyped-call]
    conduct(study, tmp_path / "alone")
    assert histories_are_close(out, tmp_path / "alone")
    for left in ("checkpoints", "locks"):
        assert list((out / left).iterdir()) == []
