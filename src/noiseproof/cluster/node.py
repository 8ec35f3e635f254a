"""What a node of a cluster does: see that all it needs is there, and conduct some of a study's runs."""

from __future__ import annotations

import platform
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import noiseproof
from noiseproof import data
from noiseproof.errors import NoiseproofError
from noiseproof.interruption import Interruption
from noiseproof.study import OnEpoch, Outcome, Study, conduct
from noiseproof.study.locks import is_held


@dataclass(frozen=True)
class Order:
    """What is to be conducted, where, and until when; the paths are absolute and the same on every node.

    ``mark`` is a file in ``out`` that the driver holds locked; ``ends`` is a time as `time.time` gives it.
    """

    study: Study
    out: Path
    data_dir: Path | None
    device: str
    fingerprint: str
    mark: Path
    ends: float | None
    on_epoch: OnEpoch
    version: str = noiseproof.__version__


def problem(order: Order) -> str | None:
    """Say why this node can't do its part, or give None if it can."""
    node = f"node {platform.node()!r}"
    if order.version != noiseproof.__version__:
        return f"{node} has noiseproof {noiseproof.__version__}, not {order.version}"
    if not order.mark.exists():
        return (
            f"{node} does not see the folder {str(order.out)!r}: --out must be on a disk that all nodes share"
        )
    if not is_held(order.mark):
        return f"{node} sees no locks in {str(order.out)!r}: --out must be on a file system that shares them"
    try:
        dataset = data.load(order.study.data, order.data_dir)
    except NoiseproofError as error:
        return f"{node}: {error}"
    if dataset.fingerprint != order.fingerprint:
        return f"{node} has other files of {order.study.data} ({dataset.fingerprint[:12]})"
    return None


def conduct_some(order: Order, run_ids: Collection[str]) -> Outcome:
    """Conduct some of the runs; a cancelled task saves what it has under way, as after Ctrl-C."""
    import torch

    # the node may have joined after the driver looked, or be another one after a failure
    if (why := problem(order)) is not None:
        raise NoiseproofError(why)
    torch.set_num_threads(1)  # a task has one CPU
    with Interruption() as interruption:
        return conduct(
            order.study,
            order.out,
            only=run_ids,
            device=order.device,
            data_dir=order.data_dir,
            time_budget=None if order.ends is None else max(0.0, order.ends - time.time()),
            interrupted=interruption.requested,
            on_epoch=order.on_epoch,
        )
