"""Time and peak memory of every loss, forward and backward, beside `F.cross_entropy`.

    python benchmarks/losses.py                   # prints the table, writes benchmarks/losses_<device>.csv
    python benchmarks/losses.py --compile         # also torch.compile of the study's formulas; needs g++
    python benchmarks/losses.py --device cuda --dtype bfloat16

All rivals of a size are measured in turns in one process, so that a ratio compares like with like; a ratio is
the median over the rounds of the ratio within a round.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from noiseproof.losses import CATALOGUE, Loss, parse

SIZES = {
    "cpu": ((128, 10), (256, 100), (256, 1000), (512, 32_000)),
    "cuda": ((128, 10), (4096, 1000), (4096, 32_000), (8192, 131_072)),
}
DTYPES = ("float32", "bfloat16", "float16")
STUDY = ("ce", "fl", "mae", "rce", "nce", "nfl", "nmae", "nrce", "nfl+mae", "nfl+rce", "nce+mae", "nce+rce")
SINCE = (*(name for name in CATALOGUE if name not in STUDY), "nce+agce", "5*nce+5*nnce", "0.01*ce_eps+5*mae")
"""The rest of the catalogue, and the sums that its papers propose."""

ROUNDS = 9
ROUND_SECONDS = 0.05

Evaluate = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Row:
    """One measurement; ratios are to `F.cross_entropy` at the same size in the same run."""

    samples: int
    classes: int
    loss: str
    implementation: str
    microseconds: float
    time_ratio: float
    peak_megabytes: float
    memory_ratio: float


def plain_formulas(loss: Loss) -> Evaluate:
    """The same loss in a few lines of PyTorch, as a user would write it: no checks, no ignored labels."""
    formula = loss.formula()
    return lambda logits, target: formula(logits.log_softmax(-1), target).mean()


def copied(logits: Tensor, target: Tensor) -> Tensor:
    """The logits read and written once forward, and once backward: what the memory allows at best."""
    return logits.clone()


def rivals(compiled: bool) -> dict[tuple[str, str], Evaluate]:
    found: dict[tuple[str, str], Evaluate] = {("ce", "F.cross_entropy"): F.cross_entropy}
    # every loss compiles the same lambda, and beyond the limit it would be run as it stands
    torch._dynamo.config.recompile_limit = len(SIZES["cpu"]) * len(STUDY)
    for text in STUDY + SINCE:
        found[text, "noiseproof"] = parse(text)
        found[text, "plain PyTorch"] = plain_formulas(parse(text))
        if compiled and text in STUDY:
            found[text, "torch.compile"] = torch.compile(plain_formulas(parse(text)), dynamic=False)
    return found


def seconds_a_call(work: Callable[[], object], calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / calls


def fits(work: Callable[[], object]) -> bool:
    """Whether the device has memory for it; it is warmed up thereby."""
    try:
        seconds_a_call(work, 3)
        return True
    except torch.OutOfMemoryError:
        pass  # only after this is gone what the error's traceback led to
    torch.cuda.empty_cache()
    return False


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """The most that one call holds at once beyond the logits, its gradient included."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated() - before
    cpu = [torch.profiler.ProfilerActivity.CPU]
    # acc_events: some releases warn that without it events are those of a cycle, of which there is one
    with torch.profiler.profile(activities=cpu, profile_memory=True, acc_events=True) as run:
        kept = work()
    del kept
    held = peak = 0
    assert run.profiler is not None
    for event in run.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def measure(
    samples: int, classes: int, device: torch.device, dtype: torch.dtype, compiled: bool
) -> list[Row]:
    generator = torch.Generator(device).manual_seed(0)  # the largest would take the host ten seconds
    logits = torch.randn(samples, classes, generator=generator, device=device).to(dtype).requires_grad_()
    target = torch.randint(classes, (samples,), generator=generator, device=device)

    def step(evaluate: Evaluate) -> Callable[[], object]:
        return lambda: torch.autograd.grad(evaluate(logits, target), logits)

    steps = {name: step(evaluate) for name, evaluate in rivals(compiled).items()}
    if device.type == "cuda":
        steps["copy", "device to device"] = lambda: copied(logits.detach(), target)
    steps = {name: work for name, work in steps.items() if fits(work)}
    calls = {name: max(1, int(ROUND_SECONDS / seconds_a_call(work, 2))) for name, work in steps.items()}
    times: dict[tuple[str, str], list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, work in steps.items():
            times[name].append(seconds_a_call(work, calls[name]))
    peaks = {name: peak_bytes(work, device) for name, work in steps.items()}
    base = ("ce", "F.cross_entropy")
    return [
        Row(
            samples=samples,
            classes=classes,
            loss=name[0],
            implementation=name[1],
            microseconds=round(1e6 * statistics.median(times[name]), 1),
            time_ratio=round(
                statistics.median(a / b for a, b in zip(times[name], times[base], strict=True)), 2
            ),
            peak_megabytes=round(peaks[name] / 1e6, 3),
            memory_ratio=round(peaks[name] / peaks[base], 2),
        )
        for name in steps
    ]


def _size(text: str) -> tuple[int, int]:
    samples, classes = text.split(",")
    return int(samples), int(classes)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--compile", action="store_true", help="measure torch.compile too")
    options.add_argument("--device", default="cpu")
    options.add_argument("--dtype", default="float32", choices=DTYPES)
    options.add_argument("--sizes", nargs="+", type=_size, metavar="N,K", help="such as 128,10 4096,1000")
    options.add_argument("--out", type=Path, help="CSV; benchmarks/losses_<device>.csv by default")
    given = options.parse_args()
    device = torch.device(given.device)
    name = (
        torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    )
    print(f"{device.type}, {name}, torch {torch.__version__}, {given.dtype}; forward and backward")
    kind = device.type if given.dtype == "float32" else f"{device.type}_{given.dtype}"
    out = given.out or Path(__file__).with_name(f"losses_{kind}.csv")
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        for samples, classes in given.sizes or SIZES[device.type]:
            for row in measure(samples, classes, device, getattr(torch, given.dtype), given.compile):
                writer.writerow(asdict(row))
                print(
                    f"({row.samples}, {row.classes})".ljust(14)
                    + f"{row.loss:16} {row.implementation:16} {row.microseconds:10.1f} us"
                    f"  x{row.time_ratio:<6.2f} {row.peak_megabytes:9.3f} MB  x{row.memory_ratio:.2f}",
                    flush=True,
                )
            file.flush()  # what is measured stays, whatever comes next


if __name__ == "__main__":
    main()
