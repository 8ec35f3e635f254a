"""How many runs a GPU trains at once, and how: found by trying, not asked of the user."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from noiseproof.data import Dataset
from noiseproof.models import Model
from noiseproof.training.base import Run
from noiseproof.training.concurrent import ConcurrentTraining, Way, is_opaque
from noiseproof.training.recipe import Recipe

GAIN = 1.05
"""How much faster more runs at once must be to be worth it: the fewer, the sooner the first are finished."""

SHARE = 0.85
"""Share of the free memory that may be used: libraries take some of it later."""

COMPILING_PAYS = 300.0
"""Seconds of training ahead from which on it is tried whether compiling, about a minute, makes it faster."""

TRIAL = 1.0
"""Seconds of each trial."""


@dataclass(frozen=True)
class Trial:
    """What was measured: training images a second of all runs together, 0 if they did not fit, and memory."""

    runs: int
    images_per_second: float
    bytes_held: int


@dataclass(frozen=True)
class Plan:
    """How many runs are trained at once, and how."""

    at_once: int
    way: Way


def next_count(trials: Sequence[Trial], *, most: int, memory: int) -> int | None:
    """Give how many runs to try next after ``trials`` of ascending counts, None if enough is known.

    >>> next_count([Trial(1, 100.0, 10), Trial(2, 180.0, 20)], most=64, memory=1000)
    4
    >>> next_count([Trial(1, 100.0, 10), Trial(2, 180.0, 20)], most=64, memory=40)  # 34 bytes may be used
    3
    """
    if not trials:
        return 1
    last = trials[-1]
    before = trials[-2] if len(trials) > 1 else Trial(0, 0.0, 0)
    if last.images_per_second == 0 or last.images_per_second < GAIN * before.images_per_second:
        return None
    of_a_run = max(1.0, (last.bytes_held - before.bytes_held) / (last.runs - before.runs))
    fitting = last.runs + int((SHARE * memory - last.bytes_held) / of_a_run)
    count = min(2 * last.runs, fitting, most)
    return count if count > last.runs else None


def best(trials: Sequence[Trial]) -> Trial:
    """Give the trial of the fewest runs that is about as fast as the fastest.

    >>> best([Trial(1, 100.0, 10), Trial(2, 180.0, 20), Trial(4, 184.0, 40)]).runs
    2
    """
    fastest = max(trial.images_per_second for trial in trials)
    return min(
        (trial for trial in trials if GAIN * trial.images_per_second >= fastest), key=lambda trial: trial.runs
    )


TryOut = Callable[[int, Way], Trial]

OnTrial = Callable[[int, Way], None]
"""Told of a trial before it begins: how many runs at once, and how."""


def plan(
    dataset: Dataset,
    model: Model,
    recipe: Recipe,
    runs: Sequence[Run],
    device: torch.device,
    *,
    images_ahead: int,
    seconds_ahead: float = math.inf,
    on_trial: OnTrial = lambda *_: None,
    try_out: TryOut | None = None,
) -> Plan:
    """Try 1, 2, 4, ... of ``runs`` at once while that gains speed and fits; then try to compile the network.

    Where compiling gains speed, more runs at once are tried again, compiled, or else half as many: its steps
    fill the GPU differently, and the network is not compiled anew. An opaque one is not compiled at all.

    ``images_ahead``: how many training images all runs have still to see; ``seconds_ahead``: how long they
    may be trained here. ``on_trial`` is told of each trial, a second or more, compiling a minute; ``try_out``
    measures.
    """
    memory = _free_memory(device)

    def measured(count: int, way: Way) -> Trial:
        return measure(dataset, model, recipe, runs[:count], device, way)

    def tried(count: int, way: Way) -> Trial:
        on_trial(count, way)
        return (try_out or measured)(count, way)

    def with_more(trials: list[Trial], way: Way) -> list[Trial]:
        while (count := next_count(trials, most=len(runs), memory=memory)) is not None:
            trials = [*trials, tried(count, way)]
        return trials

    way = Way.usual(device, opaque=is_opaque(model, runs))
    chosen = best(with_more([], way))
    pays = seconds_ahead > COMPILING_PAYS and 0 < chosen.images_per_second * COMPILING_PAYS < images_ahead
    if model.opaque or not pays:
        return Plan(chosen.runs, way)
    compiled = replace(way, compiled=True)
    first = tried(chosen.runs, compiled)
    if first.images_per_second <= GAIN * chosen.images_per_second:
        return Plan(chosen.runs, way)
    trials = with_more([first], compiled)
    if best(trials) is first and first.runs > 1:
        trials = [tried(first.runs // 2, compiled), first]
    return Plan(best(trials).runs, compiled)


def measure(
    dataset: Dataset, model: Model, recipe: Recipe, runs: Sequence[Run], device: torch.device, way: Way
) -> Trial:
    """Train ``runs`` for a moment, for the speed alone; 0 if memory, or a compiler, is missing."""
    try:
        trial = _measured(ConcurrentTraining(dataset, model, recipe, runs, device, way=way))
    except torch.OutOfMemoryError:
        trial = Trial(len(runs), 0.0, 0)
    except RuntimeError:  # what a compiler that can't be used ends in
        if not way.compiled:
            raise
        trial = Trial(len(runs), 0.0, 0)
    free_memory(device)
    return trial


def _measured(training: ConcurrentTraining) -> Trial:
    device, cuda = training.device, training.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    # not prepared: of most trainings a trial sees whole batches alone, and no evaluation
    training.advance()
    first, started = training.step, training.seconds
    seconds = 0.0
    while not training.finished and seconds < TRIAL:
        training.advance()
        seconds = len(training.runs) * (training.seconds - started)
    images = (training.step - first) * training.recipe.batch_size * len(training.runs)
    # reserved: what a graph holds in between is allocated only while it is captured
    held = torch.cuda.max_memory_reserved(device) if cuda else 0
    return Trial(len(training.runs), images / seconds if seconds else 0.0, held)


def free_memory(device: torch.device) -> None:
    """Give back a GPU's memory that trainings held which are gone; on a CPU it goes back by itself."""
    if device.type == "cuda":
        gc.collect()  # an engine and its graphs refer to each other
        torch.cuda.empty_cache()


def _free_memory(device: torch.device) -> int:
    if device.type != "cuda":
        return 0
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device)
