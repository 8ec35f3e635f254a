"""Training images a second of many ResNet-18 at once, beside the loops that a user would write.

    python benchmarks/train_throughput.py                      # on a GPU; prints the table, writes a CSV
    python benchmarks/train_throughput.py --device cpu --tiny  # rehearses all of it; no figure is of use

The study's recipe on random images of CIFAR-10's size, all in one run: a plain PyTorch loop (DataLoader with
workers, eager, TF32), the same with torch.compile and bfloat16, and this package's engines for several
numbers of runs, in each way of concurrency: all of them training alone, since the engines have ten test
images to evaluate after an epoch, and the loops none. cuDNN may time its kernels for all of them. Several
processes take turns on a GPU by slices of time, unless NVIDIA's MPS is on, which is not asked for here.

The roofline is of the same run: the operations of a step at the measured rate of a matrix product, and the
bytes that it moves at the measured bandwidth of a copy. Each alone bounds the speed from above; a training
whose kernels do one after the other is bounded by both in turn. The bytes are counted twice: as kernels would
move them that fuse all that can be fused, and as those do that the compiler writes.
"""

from __future__ import annotations

import argparse
import csv
import logging
import multiprocessing
import os
import queue
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from noiseproof import losses
from noiseproof.data import Dataset
from noiseproof.models import ResNet18, build_initialized
from noiseproof.training import ConcurrentTraining, Recipe, Run, StackedTraining, Training, Way, free_memory

PASSES = 14
"""Times that a convolution's output, or its gradient, passes through memory in a step, if batch normalization
and ReLU are one kernel: 5 forward (written, read for the statistics, read and written to normalize, read by
the next convolution) and 9 backward (both read for the sums, both read and one written, then two read for the
weights' gradient, one read and one written for the input's)."""

UPDATE_BYTES = 20
"""Bytes that the update moves for each weight: it and its momentum read and written, its gradient read."""

WEIGHT_BYTES = 14 + UPDATE_BYTES
"""Bytes that a step moves for each weight: 6 for its bfloat16 copy and 8 for its gradient, in bfloat16 and
float32, beside the update."""


PLAIN = "plain loop"
"""What all others are compared with."""

PATIENCE = 100.0
"""Seconds to wait for processes that start, compile and measure."""

LOOK_EVERY = 1.0
"""Seconds between looks at whether one of them has died."""


@dataclass(frozen=True)
class Row:
    """One measurement; limits are those of the roofline, in images a second, alike in all rows of a run."""

    device: str
    torch: str
    implementation: str
    runs: int
    processes: int
    images_per_second: float
    ratio_to_plain: float
    flop_utilization: float
    gigabytes_held: float
    arithmetic_limit: float
    ideal_bandwidth_limit: float
    ideal_in_turn_limit: float
    compiled_bandwidth_limit: float | None
    compiled_in_turn_limit: float | None


@dataclass(frozen=True)
class Bench:
    """What is trained, where, and how long each measurement takes."""

    device: torch.device
    dataset: Dataset
    model: ResNet18
    recipe: Recipe
    seconds: float
    workers: int

    @classmethod
    def of(cls, device: torch.device, *, tiny: bool, seconds: float | None) -> Bench:
        # whole batches alone, and next to nothing to evaluate
        side, batch_size, num_train = (8, 16, 6 * 16) if tiny else (32, 128, 390 * 128)
        rng = np.random.default_rng(0)

        def images(number: int) -> Any:
            return rng.integers(256, size=(number, 3, side, side), dtype=np.uint8)

        dataset = Dataset(
            name="random",
            train_images=images(num_train),
            train_labels=rng.integers(10, size=num_train),
            test_images=images(10),
            test_labels=np.arange(10),
            class_names=tuple("0123456789"),
            class_map={},
            mean=(127.5,) * 3,
            std=(64.0,) * 3,
        )
        return cls(
            device=device,
            dataset=dataset,
            model=ResNet18(width=4) if tiny else ResNet18(),
            recipe=Recipe(epochs=1000, batch_size=batch_size),
            seconds=seconds or (0.3 if tiny else 5.0),
            workers=1 if tiny else max(1, (os.cpu_count() or 2) - 2),
        )

    def network(self) -> nn.Module:
        return build_initialized(lambda: self.model.build(self.dataset.image_shape, 10), seed=0)

    def runs(self, number: int) -> list[Run]:
        """As in the study: one seed, so one set of batches, and its losses in turn."""
        texts = ("ce", "fl", "nce", "nfl", "nfl+mae", "nfl+rce", "nce+mae", "nce+rce")
        given = self.dataset.train_labels
        return [
            Run(str(r), losses.parse(texts[r % len(texts)], reduction="none"), given, seed=0)
            for r in range(number)
        ]


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# ------------------------------------------------------------------------------------------ the roofline


@dataclass(frozen=True)
class Roofline:
    """Measured ceilings, and what an image of a step asks of them.

    ``ideal_bytes`` and ``compiled_bytes``: what is moved for an image, by an ideal implementation and by the
    compiler's, None where there is no compiler.
    """

    flop_per_second: float
    bytes_per_second: float
    flop_of_image: float
    ideal_bytes: float
    compiled_bytes: float | None

    @property
    def arithmetic(self) -> float:
        """Images a second if nothing but the operations took time."""
        return self.flop_per_second / self.flop_of_image

    def bandwidth(self, bytes_of_image: float) -> float:
        """Images a second if nothing but moving the bytes took time."""
        return self.bytes_per_second / bytes_of_image

    def in_turn(self, bytes_of_image: float) -> float:
        """Images a second if one came after the other."""
        return 1 / (1 / self.arithmetic + 1 / self.bandwidth(bytes_of_image))


def seconds_of(work: Callable[[], object], device: torch.device, *, repeats: int) -> float:
    """The median of single calls, each waited for, after three to warm up."""
    times = []
    for _ in range(3 + repeats):
        wait(device)
        started = time.perf_counter()
        work()
        wait(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times[3:])


def matrix_rate(device: torch.device, side: int) -> float:
    """Operations a second of a product of matrices, in bfloat16 on a GPU."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    # random, since products of zeros run faster than those of data
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)
    return 2 * side**3 / seconds_of(lambda: torch.mm(a, b, out=out), device, repeats=20)


def copy_rate(device: torch.device, num_bytes: int) -> float:
    """Bytes a second that a copy on the device reads and writes."""
    source = torch.randint(256, (num_bytes,), device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * num_bytes / seconds_of(lambda: target.copy_(source), device, repeats=20)


def flop_of(network: nn.Module, images: Tensor) -> int:
    """Operations of the forward and backward pass."""
    with FlopCounterMode(display=False) as counter:
        network(images).sum().backward()
    return int(counter.get_total_flops())


def ideal_bytes(network: nn.Module, images: Tensor, batch_size: int) -> float:
    """Bytes that a step in bfloat16 moves for an image, at `PASSES` over each convolution's output."""
    outputs: list[int] = []
    hooks = [
        layer.register_forward_hook(lambda _, __, output: outputs.append(output.numel()))
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    return 2 * PASSES * sum(outputs) / len(images) + WEIGHT_BYTES * number_of_weights(network) / batch_size


def compiled_bytes(network: nn.Module, images: Tensor, *, half: bool) -> float:
    """Bytes that a step moves for an image, by the compiler's own count of the kernels that it writes.

    It counts each kernel's inputs and outputs once, those of the libraries' convolutions too; the update,
    which is not compiled, is added. ``half``: in bfloat16. Raises `RuntimeError` where there is no compiler,
    or where it does not count.
    """
    # here, since it takes a while to import
    from torch._functorch import config as functorch
    from torch._inductor import config as inductor
    from torch._inductor import metrics
    from torch._inductor.compile_fx import inductor_metrics_log as log

    torch._dynamo.reset()
    level = log.level

    def silenced(_: object) -> bool:
        return False

    # it counts while it logs; what comes from its cache was counted by nobody
    log.addFilter(silenced)
    log.setLevel(logging.INFO)
    before = metrics.num_bytes_accessed
    try:
        with inductor.patch(fx_graph_cache=False), functorch.patch(enable_autograd_cache=False):
            with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=half):
                output = torch.compile(network, dynamic=False)(images)
            output.sum().backward()
    finally:
        log.setLevel(level)
        log.removeFilter(silenced)
        torch._dynamo.reset()
    counted = metrics.num_bytes_accessed - before
    if not counted:
        raise RuntimeError("the compiler has counted nothing")
    return (counted + UPDATE_BYTES * number_of_weights(network)) / len(images)


def number_of_weights(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def roofline(bench: Bench, *, tiny: bool, compiled: bool) -> Roofline:
    flop_per_second = matrix_rate(bench.device, 256 if tiny else 8192)
    bytes_per_second = copy_rate(bench.device, 1 << 24 if tiny else 1 << 32)
    free_memory(bench.device)
    batch_size = bench.recipe.batch_size
    few = torch.randn(8, *bench.dataset.image_shape)
    moved = None
    if compiled:
        images = torch.randn(batch_size, *bench.dataset.image_shape, device=bench.device)
        network = bench.network().to(bench.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        try:
            moved = compiled_bytes(network, images.contiguous(memory_format=torch.channels_last), half=True)
        except RuntimeError as error:  # no compiler: the other limits are of use without it
            print(f"not counted as compiled: {str(error).strip().splitlines()[0]}", flush=True)
        del network, images
        free_memory(bench.device)
    return Roofline(
        flop_per_second=flop_per_second,
        bytes_per_second=bytes_per_second,
        flop_of_image=flop_of(bench.network(), few) / len(few),
        ideal_bytes=ideal_bytes(bench.network(), few, batch_size),
        compiled_bytes=moved,
    )


# ------------------------------------------------------------------------------------- the plain loops


class Samples(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """One image after the other, cropped, flipped and normalized on the CPU, as loaders are usually fed."""

    def __init__(self, dataset: Dataset, padding: int) -> None:
        self.images = torch.from_numpy(dataset.train_images)
        self.labels = dataset.train_labels.tolist()
        self.mean, self.std = (torch.tensor(values).view(-1, 1, 1) for values in (dataset.mean, dataset.std))
        self.padding = padding

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        height, width = self.images.shape[-2:]
        top, left = torch.randint(2 * self.padding + 1, (2,)).tolist()
        padded = F.pad(self.images[index], (self.padding,) * 4)
        image = padded[:, top : top + height, left : left + width]
        if torch.rand(()) < 0.5:
            image = image.flip(-1)
        return (image.float() - self.mean) / self.std, self.labels[index]


def plain_loop(bench: Bench, *, modern: bool) -> float:
    """Images a second of the loop that a user would write; ``modern``: compiled, in bfloat16."""
    device, recipe = bench.device, bench.recipe
    loader: DataLoader[Any] = DataLoader(
        Samples(bench.dataset, recipe.crop_padding),
        batch_size=recipe.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=bench.workers,
        pin_memory=device.type == "cuda",
        persistent_workers=True,
    )
    network = bench.network().to(device)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )
    if modern:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    forward = torch.compile(network) if modern else network

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from loader

    def step(images: Tensor, target: Tensor) -> float:
        images, target = images.to(device, non_blocking=True), target.to(device, non_blocking=True)
        if modern:
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=modern):
            loss = F.cross_entropy(forward(images), target)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        return loss.item()

    source = batches()
    network.train()
    for _ in range(5):
        step(*next(source))
    steps, started = 0, time.perf_counter()
    while (took := time.perf_counter() - started) < bench.seconds:
        step(*next(source))
        steps += 1
    return steps * recipe.batch_size / took


# ------------------------------------------------------------------------------------------ the engines


def speed_of(training: Training, seconds: float, begin: Callable[[], object] = lambda: None) -> float:
    """Images a second of all runs together, once everything is captured; ``begin`` waits for others."""
    training.prepare()
    training.advance()
    begin()
    first, started = training.step, time.perf_counter()
    while (took := time.perf_counter() - started) < seconds:
        training.advance()
    return (training.step - first) * training.recipe.batch_size * len(training.runs) / took


def concurrent(bench: Bench, number: int, way: Way) -> float:
    """Images a second of ``number`` runs in one process."""
    return speed_of(_concurrent(bench, number, way), bench.seconds)


def stacked(bench: Bench, number: int) -> float:
    """Images a second of the CPU's engine, on the same device."""
    training = StackedTraining(bench.dataset, bench.model, bench.recipe, bench.runs(number), bench.device)
    return speed_of(training, bench.seconds)


def processes(bench: Bench, number: int, way: Way) -> float:
    """Images a second of ``number`` processes with a run each."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(number), context.Queue()
    started = [context.Process(target=_process, args=(bench, way, barrier, results)) for _ in range(number)]
    for process in started:
        process.start()
    try:
        return sum(awaited(results, started))
    finally:
        for process in started:
            process.kill()
            process.join()


def awaited(results: Any, started: Sequence[BaseProcess]) -> list[float]:
    """Wait for a result of each process; raises `RuntimeError` once one has died, or past `PATIENCE`."""
    found: list[float] = []
    ends = time.monotonic() + PATIENCE
    while len(found) < len(started):
        # looked at before the results: what a process put there is there before it ends
        dead = [process.exitcode for process in started if not process.is_alive() and process.exitcode]
        try:
            found.append(results.get(timeout=LOOK_EVERY))
        except queue.Empty:
            if dead:
                raise RuntimeError(f"a process died, with exit code {dead[0]}") from None
            if time.monotonic() > ends:
                raise RuntimeError(f"no result of a process within {PATIENCE:.0f} s") from None
    return found


def _process(bench: Bench, way: Way, barrier: Any, results: Any) -> None:
    """One of several: all begin to measure at once."""
    torch.set_num_threads(1)
    results.put(speed_of(_concurrent(bench, 1, way), bench.seconds, partial(barrier.wait, PATIENCE)))


def _concurrent(bench: Bench, number: int, way: Way) -> Training:
    return ConcurrentTraining(
        bench.dataset, bench.model, bench.recipe, bench.runs(number), bench.device, way=way
    )


@dataclass(frozen=True)
class Rival:
    """What is measured, and what gives its images a second."""

    implementation: str
    runs: int
    measure: Callable[[], float]
    processes: int = 1


def rivals(bench: Bench, counts: list[int], *, compiled: bool) -> Iterator[Rival]:
    """The loops first; then the engines: all counts with a stream each, the least and the most on one."""
    half = torch.bfloat16
    yield Rival(PLAIN, 1, partial(plain_loop, bench, modern=False))
    if compiled:
        yield Rival("plain loop, compiled, bfloat16", 1, partial(plain_loop, bench, modern=True))
    ways = {
        "graph": Way(compute=half, streams=1),
        "graph, a stream each": Way(compute=half),
    }
    if compiled:
        ways |= {
            "graph, compiled": Way(compute=half, streams=1, compiled=True),
            "graph, compiled, a stream each": Way(compute=half, compiled=True),
        }
    eager = Way(compute=half, streams=1, graphed=False)
    yield Rival("eager, bfloat16", 1, partial(concurrent, bench, 1, eager))
    for name, way in ways.items():
        for number in counts if way.streams is None else sorted({counts[0], counts[-1]}):
            yield Rival(name, number, partial(concurrent, bench, number, way))
    for number in (1, 4):
        yield Rival("stack, float32", number, partial(stacked, bench, number))
    for number in (2, 4):
        yield Rival(
            "processes, a graph each", number, partial(processes, bench, number, ways["graph"]), number
        )


# ---------------------------------------------------------------------------------------------- the table


def measured(rival: Rival, bench: Bench, limits: Roofline, plain: float | None) -> Row | str:
    """Measure one; a line that says why if that can't be done."""
    device = bench.device
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    speed, fault = 0.0, ""
    try:
        speed = rival.measure()
    except RuntimeError as error:  # what others give is measured all the same
        fault = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    held = torch.cuda.max_memory_reserved(device) if cuda else 0
    free_memory(device)
    if fault:
        return fault
    moved = limits.compiled_bytes
    return Row(
        device=torch.cuda.get_device_name(device) if cuda else device.type,
        torch=torch.__version__,
        implementation=rival.implementation,
        runs=rival.runs,
        processes=rival.processes,
        images_per_second=round(speed, 1),
        ratio_to_plain=round(speed / (plain or speed), 2),
        flop_utilization=round(speed * limits.flop_of_image / limits.flop_per_second, 4),
        gigabytes_held=round(held / 1e9, 2),
        arithmetic_limit=round(limits.arithmetic),
        ideal_bandwidth_limit=round(limits.bandwidth(limits.ideal_bytes)),
        ideal_in_turn_limit=round(limits.in_turn(limits.ideal_bytes)),
        compiled_bandwidth_limit=round(limits.bandwidth(moved)) if moved else None,
        compiled_in_turn_limit=round(limits.in_turn(moved)) if moved else None,
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--device", default="cuda")
    options.add_argument("--tiny", action="store_true", help="a network and data of no use, to rehearse")
    options.add_argument("--runs", type=int, nargs="+", help="runs at once; 1 2 4 8 16 by default")
    options.add_argument("--seconds", type=float, help="of each measurement; 5 by default")
    options.add_argument("--no-compile", action="store_true", help="leave out torch.compile")
    options.add_argument("--only", nargs="+", metavar="IMPLEMENTATION", help="these, beside the plain loop")
    options.add_argument("--out", type=Path, help="CSV; benchmarks/train_throughput_<device>.csv by default")
    given = options.parse_args()
    device = torch.device(given.device)
    if given.tiny:
        torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    # a kernel that was chosen without timing, by whoever came first, would be everybody's
    torch.backends.cudnn.benchmark = True
    bench = Bench.of(device, tiny=given.tiny, seconds=given.seconds)
    counts = given.runs or ([1, 2] if given.tiny else [1, 2, 4, 8, 16])
    chosen = list(rivals(bench, counts, compiled=not given.no_compile))
    if given.only is not None:
        names = list(dict.fromkeys(rival.implementation for rival in chosen))
        if unknown := set(given.only).difference(names):
            options.error(f"unknown: {', '.join(sorted(unknown))}; there are {'; '.join(names)}")
        chosen = [rival for rival in chosen if rival.implementation in (PLAIN, *given.only)]
    limits = roofline(bench, tiny=given.tiny, compiled=not given.no_compile)
    print(
        f"measured: {limits.flop_per_second / 1e12:.3g} TFLOP/s in a matrix product,"
        f" {limits.bytes_per_second / 1e12:.3g} TB/s in a copy\n"
        f"an image: {limits.flop_of_image / 1e9:.3g} GFLOP; limit, images/s: {limits.arithmetic:,.0f}",
        flush=True,
    )
    for what, moved in (("ideally fused", limits.ideal_bytes), ("as compiled", limits.compiled_bytes)):
        if moved is not None:
            print(
                f"an image, {what}: {moved / 1e6:.3g} MB; limits, images/s: bandwidth"
                f" {limits.bandwidth(moved):,.0f}, in turn {limits.in_turn(moved):,.0f}",
                flush=True,
            )
    folder = Path(tempfile.mkdtemp()) if given.tiny else Path(__file__).parent
    out = given.out or folder / f"train_throughput_{device.type}.csv"
    plain = None
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        for rival in chosen:
            row = measured(rival, bench, limits, plain)
            what = f"{rival.implementation:32} {rival.runs:3} runs"
            if isinstance(row, str):
                print(f"{what}  {row}", flush=True)
                continue
            plain = plain or row.images_per_second
            writer.writerow(asdict(row))
            file.flush()  # what is measured stays, whatever comes next
            print(
                f"{what} {row.images_per_second:10,.0f} images/s  x{row.ratio_to_plain:<7.2f}"
                f" {100 * row.flop_utilization:5.1f} % of the matrix rate  {row.gigabytes_held:6.1f} GB",
                flush=True,
            )
    print(f"written to {out}")


if __name__ == "__main__":
    main()
