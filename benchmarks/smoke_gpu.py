"""The first minute on a new GPU: is what the long commands need there, and right?

python benchmarks/smoke_gpu.py               # a line for each check; fails if one of them does
python benchmarks/smoke_gpu.py --device cpu  # rehearses it: nothing is captured, nothing compiled
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch._dynamo.utils import counters

from noiseproof import data, losses
from noiseproof.models import CNN4, MLP, Model, ResNet18
from noiseproof.training import ConcurrentTraining, Recipe, Run, Way, free_memory

TEXTS = ("ce", "nfl+rce", "nce+mae", "gce")

PRECISIONS = {torch.float32: 1e-4, torch.bfloat16: 1e-2}
"""What logits may be, and how far values and gradients may be from those in double precision, as a share: in
float32 autograd's derivative of `expm1` alone is 2e-5 off, where no kernel is compiled."""


def machine(device: torch.device) -> str:
    if device.type != "cuda":
        return f"Python {platform.python_version()}, torch {torch.__version__}, no GPU"
    free, total = torch.cuda.mem_get_info(device)
    return (
        f"{torch.cuda.get_device_name(device)}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free,"
        f" Python {platform.python_version()}, torch {torch.__version__},"
        f" cuDNN {torch.backends.cudnn.version()}"  # type: ignore[no-untyped-call]
    )


def losses_are_exact(device: torch.device) -> str:
    """Values and gradients beside those in double precision on the CPU."""
    worst = dict.fromkeys(PRECISIONS, 0.0)
    generator = torch.Generator().manual_seed(0)
    for dtype in PRECISIONS:
        for samples, classes in ((128, 10), (33, 1000)):
            given = torch.randn(samples, classes, generator=generator).to(dtype)
            target = torch.randint(classes, (samples,), generator=generator)
            for text in TEXTS:
                loss = losses.parse(text, reduction="sum")
                found = value_and_gradient(loss, given.to(device), target.to(device))
                exact = value_and_gradient(loss, given.double(), target)
                for ours, theirs in zip(found, exact, strict=True):
                    error = ((ours.cpu().double() - theirs).norm() / theirs.norm()).item()
                    assert error < PRECISIONS[dtype], f"{text}, {dtype}, {classes} classes: {error:.1e}"
                    worst[dtype] = max(worst[dtype], error)
    return ", ".join(f"{error:.0e} in {str(dtype).removeprefix('torch.')}" for dtype, error in worst.items())


def value_and_gradient(loss: losses.Loss, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.requires_grad_()
    value = loss(logits, target)
    return value.detach(), torch.autograd.grad(value, logits)[0]


def steps_in_a_graph_are_right(device: torch.device) -> str:
    """Two networks side by side, the epoch's last batch a smaller one, beside float32 step by step."""
    return agreement(device, ResNet18(width=64 if device.type == "cuda" else 2), Way.usual(device))


def another_kind_of_network_is_right(device: torch.device) -> str:
    """The same of one with what ResNet-18 has not: biases of convolutions, max-pooling, a hidden layer."""
    return agreement(device, CNN4(), Way.usual(device))


def a_compiled_network_is_right(device: torch.device) -> str:
    """The same of a network that is quick to compile: once, whatever the number of networks and streams."""
    torch._dynamo.reset()
    counters.clear()
    said = agreement(device, MLP(), replace(Way.usual(device), compiled=True))
    assert counters["stats"]["unique_graphs"] == 1, f"compiled {counters['stats']['unique_graphs']} times"
    return said


def agreement(device: torch.device, model: Model, way: Way) -> str:
    """Training losses of an epoch of digits, beside those of float32 step by step."""
    dataset = data.load("digits")
    recipe = Recipe(epochs=1, crop_padding=1)
    runs = [
        Run(text, losses.parse(text, reduction="none"), dataset.train_labels, seed=0)
        for text in ("ce", "nce+mae")
    ]
    ends = []
    for chosen in (way, Way(streams=1, graphed=False)):
        training = ConcurrentTraining(dataset, model, recipe, runs, device, way=chosen)
        while not training.finished:
            training.advance()
        ends.append([history.train_loss[-1] or float("nan") for history in training.histories])
        del training
        free_memory(device)
    found, expected = ends
    for run, ours, theirs in zip(runs, found, expected, strict=True):
        assert abs(ours / theirs - 1) < 0.1, f"{run.identity}: training loss {ours:.4f}, not {theirs:.4f}"
    return "training losses " + ", ".join(
        f"{ours:.4f} for {theirs:.4f}" for ours, theirs in zip(found, expected, strict=True)
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--device", default="cuda")
    device = torch.device(options.parse_args().device)
    checks: list[Callable[[torch.device], str]] = [
        machine,
        losses_are_exact,
        steps_in_a_graph_are_right,
        another_kind_of_network_is_right,
    ]
    if device.type == "cuda":
        checks.append(a_compiled_network_is_right)
    failed = 0
    for check in checks:
        started = time.perf_counter()
        try:
            said = check(device)
        except Exception:  # whatever it is: the other checks tell more of it
            failed += 1
            said = f"FAILED\n{traceback.format_exc()}"
        print(
            f"{time.perf_counter() - started:5.1f} s  {check.__name__.replace('_', ' ')}: {said}", flush=True
        )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
