"""Where the time of a training step goes: convolutions, batch normalization, the optimizer, nothing at all.

    python benchmarks/step_anatomy.py                      # ResNet-18 on a GPU; a table, and a CSV
    python benchmarks/step_anatomy.py --runs 16 --compile  # another way of training it
    python benchmarks/step_anatomy.py --device cpu --tiny  # rehearses it

PyTorch's profiler tells when each kernel began and ended; on the CPU each operator stands for a kernel.
Where k of them run at a time, as those of several runs do, each counts for a k-th of it, so that the parts
and the time in which nothing runs add up to the step. The profiler itself takes time between kernels: how
long a step takes without it is in the table too, and ``train_throughput.py`` measures that over more steps.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch._C._autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from noiseproof import data, losses
from noiseproof.models import ResNet18
from noiseproof.training import ConcurrentTraining, Recipe, Run, Way

STEPS = 4
"""Steps that are profiled: on a GPU those of the engine's third turn, after turns of one and of two."""

IDLE = "idle"
"""What the time is called in which no kernel runs."""

KINDS = {
    "optimizer": ("multi_tensor_apply", "fused_sgd"),
    "batch normalization": ("batch_norm", "batchnorm", "bn_fw", "bn_bw"),
    "loss": ("_statistics", "_gradient", "noiseproof", "softmax"),
    "compiled, without batch normalization": ("triton_",),
    "copies and layouts": ("nchwtonhwc", "nhwctonchw", "transpose", "memcpy", "memset", "copy", "aten::to"),
    "convolutions and matrix products": (
        "conv",
        "fprop",
        "dgrad",
        "wgrad",
        "gemm",
        "nvjet",
        "cutlass",
        "cudnn",
        "addmm",
        "::mm",
    ),
    "elementwise and sums": ("elementwise", "reduce_kernel", "aten::"),
}
"""What kernels do, by parts of their names in lower case; the first kind that fits counts.

The compiler's kernels carry the names of all that they do at once: with batch normalization among it they
count as that, else as a kind of their own, but for the products that it leaves to libraries.
"""


@dataclass(frozen=True)
class Kernel:
    """What ran on the device, from when to when, in microseconds."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Row:
    """A kind of work: its kernels in a step, and its part of the step's time."""

    device: str
    torch: str
    way: str
    runs: int
    kind: str
    kernels: float
    microseconds: float
    share: float
    unprofiled_step: float


def kind_of(name: str) -> str:
    """Say what a kernel does.

    >>> kind_of("sm90_xmma_wgrad_implicit_gemm_indexed_bf16bf16_bf16f32_f32_nhwckrsc_nhwc")
    'convolutions and matrix products'
    >>> kind_of("triton_poi_fused__native_batch_norm_legit_functional_relu_7")
    'batch normalization'
    """
    lower = name.lower()
    return next((kind for kind, parts in KINDS.items() if any(part in lower for part in parts)), "other")


def parts_of(kernels: Iterable[Kernel]) -> dict[str, float]:
    """Give the microseconds of each kind, and of `IDLE`, from the first kernel's start to the last one's end.

    >>> parts_of([Kernel("conv", 0.0, 4.0), Kernel("bn_fw", 2.0, 4.0), Kernel("conv", 5.0, 6.0)])
    {'convolutions and matrix products': 4.0, 'batch normalization': 1.0, 'idle': 1.0}
    """
    changes: list[tuple[float, int, str]] = []
    for kernel in kernels:
        kind = kind_of(kernel.name)
        changes += [(kernel.start, 1, kind), (kernel.end, -1, kind)]
    running: Counter[str] = Counter()
    spent: defaultdict[str, float] = defaultdict(float)
    before = min(changes)[0]
    for now, change, kind in sorted(changes):
        # what runs since the last change; where that is nothing, one thing: IDLE
        for other, number in (+running or Counter({IDLE: 1})).items():
            if now > before:
                spent[other] += (now - before) * number / max(running.total(), 1)
        running[kind] += change
        before = now
    return dict(spent)


def beginning(device: torch.device, runs: int, way: Way, *, tiny: bool) -> ConcurrentTraining:
    """Give a prepared training by the study's recipe, on random images, with an epoch of 40 steps."""
    rng = np.random.default_rng(0)
    side, batch = (8, 16) if tiny else (32, 128)
    images = rng.integers(256, size=(40 * batch, 3, side, side), dtype=np.uint8)
    labels = np.arange(len(images)) % 10
    dataset = data.from_arrays("random", (images, labels), (images[:100], labels[:100]))
    texts = ("ce", "fl", "nce", "nfl", "nfl+mae", "nfl+rce", "nce+mae", "nce+rce")
    training = ConcurrentTraining(
        dataset,
        ResNet18(width=4) if tiny else ResNet18(),
        Recipe(batch_size=batch),
        [
            Run(str(r), losses.parse(texts[r % len(texts)], reduction="none"), labels, seed=0)
            for r in range(runs)
        ],
        device,
        way=way,
    )
    training.prepare()
    return training


def train(training: ConcurrentTraining, steps: int) -> float:
    """Train so many steps at least; give the microseconds of one."""
    first, started = training.step, time.perf_counter()
    while training.step < first + steps:
        training.advance()
    return 1e6 * (time.perf_counter() - started) / (training.step - first)


def kernels_of(training: ConcurrentTraining, steps: int) -> tuple[list[Kernel], int]:
    """Train so many steps at least, and give what ran on the device, and how many steps it was."""
    first = training.step
    activity, is_kernel = {
        "cuda": (ProfilerActivity.CUDA, is_on_gpu),
        "cpu": (ProfilerActivity.CPU, is_asked_for),
    }[training.device.type]
    with profile(activities=[activity], acc_events=True) as seen:
        train(training, steps)
    kernels = [
        Kernel(event.name, event.time_range.start, event.time_range.end)
        for event in seen.events() or ()
        if is_kernel(event)
    ]
    return kernels, training.step - first


def is_on_gpu(event: FunctionEvent) -> bool:
    """Whether it is a kernel, or a copy, not a span of them."""
    return event.device_type == DeviceType.CUDA and not event.is_user_annotation


def is_asked_for(event: FunctionEvent) -> bool:
    """Whether it is an operator that no other operator has called."""
    return is_operator(event.name) and not any(is_operator(caller.name) for caller in callers_of(event))


def is_operator(name: str) -> bool:
    return "::" in name and not name.startswith("autograd::")


def callers_of(event: FunctionEvent) -> Iterator[FunctionEvent]:
    while (caller := event.cpu_parent) is not None:
        yield caller
        event = caller


def rows_of(training: ConcurrentTraining, name: str) -> list[Row]:
    """Profile some steps, then time some without the profiler; the largest part first.

    Raises `RuntimeError` if the profiler sees nothing.
    """
    train(training, 2)  # on a GPU two turns, of one step and of two
    kernels, steps = kernels_of(training, STEPS)
    if not kernels:
        raise RuntimeError("the profiler saw no kernel: it may not be allowed to look at this GPU's counters")
    unprofiled = train(training, STEPS)
    parts = parts_of(kernels)
    counts = Counter(kind_of(kernel.name) for kernel in kernels)
    return [
        Row(
            device=name,
            torch=torch.__version__,
            way=described(training.way),
            runs=len(training.runs),
            kind=kind,
            kernels=round(counts[kind] / steps, 1),
            microseconds=round(spent / steps, 1),
            share=round(spent / sum(parts.values()), 4),
            unprofiled_step=round(unprofiled, 1),
        )
        for kind, spent in sorted(parts.items(), key=lambda part: -part[1])
    ]


def described(way: Way) -> str:
    return f"{way.precision}, {'graph' if way.graphed else 'eager'}{', compiled' if way.compiled else ''}"


def write(rows: Sequence[Row], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--device", default="cuda")
    options.add_argument("--tiny", action="store_true", help="a network and data of no use, to rehearse")
    options.add_argument("--runs", type=int, nargs="+", help="runs at once; 1 8 by default")
    options.add_argument("--compile", action="store_true", help="with torch.compile")
    options.add_argument("--out", type=Path, help="CSV; benchmarks/step_anatomy_<device>.csv by default")
    given = options.parse_args()
    # as PyTorch does where its compiler makes graphs: with them, CUPTI that ends and begins again may crash
    os.environ |= {"DISABLE_CUPTI_LAZY_REINIT": "1", "TEARDOWN_CUPTI": "0"}
    device = torch.device(given.device)
    way = Way(compute=torch.bfloat16, compiled=given.compile)
    rows: list[Row] = []
    for runs in given.runs or ([1, 2] if given.tiny else [1, 8]):
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        found = rows_of(beginning(device, runs, way, tiny=given.tiny), name)
        rows += found
        step = sum(row.microseconds for row in found)
        print(
            f"{name}, {described(way)}, {runs} runs: a step takes {step:,.0f} us,"
            f" {found[0].unprofiled_step:,.0f} us where it is not profiled"
        )
        for row in found:
            print(
                f"  {row.kind:40} {100 * row.share:5.1f} %  {row.microseconds:10,.0f} us"
                f"  {row.kernels:8,.0f} kernels",
                flush=True,
            )
    folder = Path(tempfile.mkdtemp()) if given.tiny else Path(__file__).parent
    out = given.out or folder / f"step_anatomy_{device.type}.csv"
    write(rows, out)
    print(f"written to {out}")


if __name__ == "__main__":
    main()
