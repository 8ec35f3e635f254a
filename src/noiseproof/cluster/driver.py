"""Conduct a study on a Ray cluster: hand its runs out as tasks, and watch what comes of them."""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from noiseproof import data, noise
from noiseproof.cluster.node import Order, conduct_some, problem
from noiseproof.data import Dataset
from noiseproof.errors import NoiseproofError, one_line
from noiseproof.study import Archive, OnEpoch, Outcome, Progress, Study
from noiseproof.study.archive import Identity
from noiseproof.study.labels import check_noises
from noiseproof.study.preparation import check_last_batch, choose_engine, load_data
from noiseproof.study.trainer import Ended
from noiseproof.training import evenly

LOOK_EVERY = 1.0
"""Seconds between looks at the tasks and the folder."""

TO_SAVE = 60.0
"""Seconds that tasks have, once they are cancelled, to save what they have under way."""

RETRIES = 5
"""How often a task is begun again, elsewhere if need be, whose worker or node has died."""


def conduct_on_ray(
    study: Study,
    out: Path | str,
    *,
    device: str = "auto",
    data_dir: Path | str | None = None,
    time_budget: float | None = None,
    interrupted: Callable[[], bool] = lambda: False,
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_epoch: OnEpoch = lambda *_: None,
) -> Outcome:
    """Do as `noiseproof.study.conduct`, with tasks over the GPUs of a Ray cluster, or over its CPUs.

    The cluster is the one that this process is connected to, that ``RAY_ADDRESS`` names, or that runs on this
    machine; else one is started, of this machine alone. Its nodes all see ``out``, and ``data_dir`` if there
    is one, under the same path. What is left by a worker or a node that dies goes on elsewhere from its last
    checkpoints.

    Args:
        study: what to run.
        out: folder for records and checkpoints, shared by all nodes.
        device: auto for the GPUs if the cluster has any, else the CPUs; cpu; or cuda.
        data_dir: where the data set's files are, on every node; None to use what is cached, or download it.
        time_budget: seconds after which everything is saved and training stops; None for no limit.
        interrupted: asked every second or so; True has everything saved, and stops.
        on_progress: told every second or so; whatever is under way is ``elsewhere``.
        on_epoch: sent to the nodes and told there, so it must be possible to pickle it.

    Raises:
        NoiseproofError: before any training, if Ray, the cluster or its GPUs are not there, if a node lacks
            the folder or the data, or as `noiseproof.study.conduct` does; later, if workers die repeatedly.
    """
    ends = None if time_budget is None else time.time() + time_budget
    if device not in ("auto", "cpu", "cuda"):
        raise NoiseproofError(f"on a cluster the device must be auto, cpu or cuda, got {device!r}")
    ray = _ray()
    address = "" if ray.is_initialized() else _address()
    data_dir = None if data_dir is None else Path(data_dir).resolve()
    study = study.pinned().model_copy(update={"data": data.absolute(study.data)})
    dataset = load_data(study, data_dir)
    check_last_batch(study, dataset)
    runs = study.runs()
    check_noises((noise.parse(run.noise) for run in runs), dataset, seed=runs[0].seed, data_dir=data_dir)
    archive = Archive(Path(out).resolve())
    archive.make()
    with archive.locks as locks:
        archive.begin(study, Identity(runs[0], dataset.fingerprint))
        recorded = archive.finished()
        unfit = {run_id: record for run_id, record in recorded.items() if record.status == "out of memory"}
        pending = [run.id for run in runs if run.id not in recorded or run.id in unfit]

        def count_left() -> int:
            # the same as at the start: no record, or an old one of a lack of memory
            recorded = archive.finished()
            return sum(recorded.get(run_id) is unfit.get(run_id) for run_id in pending)

        if not pending:
            return Outcome("finished", len(runs), len(runs), 0.0)
        with _cluster(ray, address):
            resource = _resource(ray, device)
            order = Order(
                study=study,
                out=archive.folder,
                data_dir=data_dir,
                device="cpu" if resource == "CPU" else "cuda",
                fingerprint=dataset.fingerprint,
                mark=locks.mark,
                ends=ends,
                on_epoch=on_epoch,
            )
            _check_nodes(ray, order, resource)
            tasks = _Tasks(ray, order, resource)
            slots = int(ray.cluster_resources()[resource])
            for run_ids in _parts(pending, _at_once(study, dataset, resource, len(pending), slots)):
                tasks.begin(run_ids)

            began, asked, left = time.monotonic(), False, len(pending)
            try:
                while tasks.under_way and not asked and (ends is None or time.time() < ends):
                    tasks.wait(LOOK_EVERY)
                    left = count_left()
                    on_progress(_progress(len(runs), len(pending), left, time.monotonic() - began))
                    asked = interrupted()
            finally:
                tasks.stop()
        archive.refresh()
        left = count_left()
        if left and not asked and (ends is None or time.time() < ends) and not tasks.out_of_time:
            raise NoiseproofError(f"{left} runs have no record: {tasks.failure}")
        ended: Ended = "finished" if not left else "interrupted" if asked else "out of time"
        return Outcome(ended, len(runs) - left, len(runs), tasks.training_seconds)


class _Tasks:
    """Tasks that each conduct some runs, on one CPU or one GPU."""

    def __init__(self, ray: Any, order: Order, resource: str) -> None:
        self._ray = ray
        self._order = ray.put(order)
        self._remote = ray.remote(conduct_some).options(
            num_cpus=1,
            num_gpus=int(resource == "GPU"),
            max_retries=RETRIES,
            scheduling_strategy="SPREAD",
        )
        self.under_way: dict[Any, Sequence[str]] = {}
        self.training_seconds = 0.0
        self.out_of_time = False
        self.failure = ""

    def begin(self, run_ids: Sequence[str]) -> None:
        """Hand out some runs."""
        self.under_way[self._remote.remote(self._order, run_ids)] = run_ids

    def wait(self, seconds: float) -> None:
        """Wait for a task to end, not for longer; raises what a task raises."""
        ready, _ = self._ray.wait(list(self.under_way), timeout=seconds)
        for task in ready:
            run_ids = self.under_way.pop(task)
            outcome = self._outcome(task)
            if outcome is not None and outcome.ended == "interrupted":  # its node is about to go
                self.begin(run_ids)

    def stop(self) -> None:
        """Have all that is under way saved, then end it."""
        for task in self.under_way:
            self._ray.cancel(task)
        if self.under_way:
            ready, late = self._ray.wait(
                list(self.under_way), num_returns=len(self.under_way), timeout=TO_SAVE
            )
            for task in late:
                self._ray.cancel(task, force=True)
            for task in ready:
                self._outcome(task)
        self.under_way = {}

    def _outcome(self, task: Any) -> Outcome | None:
        errors = self._ray.exceptions
        try:
            outcome: Outcome = self._ray.get(task)
        except errors.TaskCancelledError:  # before it began
            return None
        except errors.RayTaskError as error:
            raise error.cause from None
        except errors.RayError as error:  # the others go on, and have what it leaves undone reported
            self.failure = f"a worker died ({one_line(str(error))})"
            return None
        self.training_seconds += outcome.training_seconds
        self.out_of_time |= outcome.ended == "out of time"
        return outcome


def _ray() -> Any:
    # a cluster of ours tells nobody of its use; that of others is theirs to decide
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise NoiseproofError("a cluster needs Ray: pip install 'noiseproof[ray]'") from None
    return ray


def _address() -> str:
    """Find a cluster: the one that is named, or the one on this machine, or none, which is ``local``."""
    named = os.environ.get("RAY_ADDRESS")
    address = named or _cluster_here() or "local"
    # asked here, since Ray would try for two minutes
    if _answers(address):
        return address
    if named:
        raise NoiseproofError(f"no Ray cluster answers at RAY_ADDRESS={named!r}")
    return "local"


@contextmanager
def _cluster(ray: Any, address: str) -> Iterator[None]:
    """Connect to a cluster, or start one of this machine alone, and leave it at the end."""
    if ray.is_initialized():
        yield
        return
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def _cluster_here() -> str:
    """Read what ``ray start`` noted of the cluster on this machine, which may be gone."""
    note = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
    return note.read_text().strip() if note.exists() else ""


def _answers(address: str) -> bool:
    """Say whether somebody listens at ``host:port``; anything else is Ray's to judge."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        return True
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return False
    return True


def _resource(ray: Any, device: str) -> str:
    has_gpus = ray.cluster_resources().get("GPU", 0) >= 1
    if device == "cuda" and not has_gpus:
        raise NoiseproofError("the cluster has no GPU; expected --device auto or cpu")
    return "GPU" if has_gpus and device != "cpu" else "CPU"


def _check_nodes(ray: Any, order: Order, resource: str) -> None:
    """Raise `NoiseproofError` if a node that has what tasks need can't do its part."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    look = ray.remote(problem)
    looks = [
        look.options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        )
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get(resource, 0) >= 1
    ]
    problems = []
    for answer in [look.remote(order) for look in looks]:
        try:
            problems.append(ray.get(answer))
        except ray.exceptions.RayError as error:
            last_line = str(error).strip().splitlines()[-1]
            problems.append(f"a node cannot run noiseproof ({last_line})")
    if any(problems):
        raise NoiseproofError("; ".join(text for text in problems if text))


def _at_once(study: Study, dataset: Dataset, resource: str, runs: int, slots: int) -> int:
    """How many runs a task has: as many as give work to every slot; on a CPU no more than a stack holds."""
    share = math.ceil(runs / slots)
    if resource == "GPU":
        return share
    return min(share, choose_engine(study, dataset, [], torch.device("cpu")).at_once)


def _parts(run_ids: Sequence[str], at_once: int) -> Iterator[list[str]]:
    rest = iter(run_ids)
    for size in evenly(len(run_ids), at_once):
        yield list(islice(rest, size))


def _progress(runs_total: int, pending: int, left: int, seconds: float) -> Progress:
    done = pending - left
    return Progress(
        runs_done=runs_total - left,
        runs_total=runs_total,
        fraction=done / pending,
        seconds_left=seconds / done * left if done else None,
        elsewhere=left,
    )
