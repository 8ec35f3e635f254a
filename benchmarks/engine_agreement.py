"""Does it matter how a run is trained? The same short runs in float32 and bfloat16, eager and captured,
compiled or not, alone and together: their differences beside those between seeds.

    python benchmarks/engine_agreement.py --data-dir DIR       # CIFAR-10 on a GPU; a table, and a CSV
    python benchmarks/engine_agreement.py --device cpu --tiny  # rehearses all of it on digits
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch

from noiseproof import data, losses, noise
from noiseproof.data import Dataset
from noiseproof.models import ResNet18
from noiseproof.training import ConcurrentTraining, History, Recipe, Run, Way, free_memory

LOSSES = ("ce", "nce+mae")
NOISE = "symmetric:0.4"

FLOAT32 = Way(streams=1, graphed=False)
EAGER = Way(compute=torch.bfloat16, streams=1, graphed=False)
GRAPH = Way(compute=torch.bfloat16)
COMPILED = Way(compute=torch.bfloat16, compiled=True)

WAYS = {
    "float32, eager, alone": (FLOAT32, False),
    "bfloat16, eager, alone": (EAGER, False),
    "bfloat16, graph, alone": (GRAPH, False),
    "bfloat16, graph, together": (GRAPH, True),
    "bfloat16, graph, compiled, together": (COMPILED, True),
}
"""Each way, and whether all runs are trained at once; what is compared with comes first."""


@dataclass(frozen=True)
class Row:
    """One epoch of a run."""

    device: str
    way: str
    loss: str
    seed: int
    epoch: int
    train_loss: float | None
    memorized: float | None
    test_accuracy: float | None


def runs_of(dataset: Dataset, seeds: int) -> list[Run]:
    matrix = noise.parse(NOISE).transition_matrix(dataset.num_classes, dataset.class_map)
    return [
        Run(
            identity=f"{loss}, seed {seed}",
            loss=losses.parse(loss, reduction="none"),
            given_labels=noise.corrupt(dataset.train_labels, matrix, seed=seed),
            seed=seed,
        )
        for loss in LOSSES
        for seed in range(seeds)
    ]


def trained(
    dataset: Dataset,
    model: ResNet18,
    recipe: Recipe,
    runs: Sequence[Run],
    device: torch.device,
    way: Way,
    together: bool,
) -> list[History]:
    histories: list[History] = []
    for group in [runs] if together else [[run] for run in runs]:
        training = ConcurrentTraining(dataset, model, recipe, group, device, way=way)
        while not training.finished:
            training.advance()
        histories += training.histories
        del training
        free_memory(device)
    return histories


def rows_of(device: str, way: str, runs: Sequence[Run], histories: Sequence[History]) -> list[Row]:
    return [
        Row(
            device,
            way,
            str(run.loss),
            run.seed,
            epoch + 1,
            history.train_loss[epoch],
            history.memorized[epoch],
            history.test[epoch],
        )
        for run, history in zip(runs, histories, strict=True)
        for epoch in range(len(history))
    ]


def summary(histories: Sequence[History], expected: Sequence[History], seeds: int) -> str:
    """Final accuracies: mean over all runs, mean difference run by run, and the spread between seeds."""
    ours, theirs = ([100 * (history.test[-1] or 0.0) for history in some] for some in (histories, expected))
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    spread = [
        statistics.stdev(theirs[start : start + seeds]) if seeds > 1 else float("nan")
        for start in range(0, len(theirs), seeds)
    ]
    return (
        f"accuracy {statistics.fmean(ours):6.2f} %, difference {statistics.fmean(differences):+.2f} on"
        f" average, {max(map(abs, differences)):.2f} at most; between seeds {statistics.fmean(spread):.2f}"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--device", default="cuda")
    options.add_argument("--data-dir", type=Path)
    options.add_argument("--tiny", action="store_true", help="digits and a tiny network, to rehearse")
    options.add_argument("--epochs", type=int, default=3)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS), metavar="WAY")
    options.add_argument("--out", type=Path, help="CSV; benchmarks/engine_agreement_<device>.csv by default")
    given = options.parse_args()
    device = torch.device(given.device)
    if given.tiny:
        torch.set_num_threads(1)
    # float32 is what all else is compared with, so no TF32 in its place
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    # else the eager steps would choose kernels without timing them, and the graphs would get the same
    torch.backends.cudnn.benchmark = True
    dataset = data.load("digits" if given.tiny else "cifar10", given.data_dir)
    model = ResNet18(width=2) if given.tiny else ResNet18()
    recipe = Recipe(epochs=given.epochs)
    runs = runs_of(dataset, given.seeds)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    print(f"{name}, {dataset.name} {dataset.fingerprint[:12]}, {len(runs)} runs of {given.epochs} epochs")
    folder = Path(tempfile.mkdtemp()) if given.tiny else Path(__file__).parent
    out = given.out or folder / f"engine_agreement_{device.type}.csv"
    expected: list[History] = []
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        for label in given.ways:
            way, together = WAYS[label]
            started = time.perf_counter()
            histories = trained(dataset, model, recipe, runs, device, way, together)
            expected = expected or histories
            writer.writerows(asdict(row) for row in rows_of(name, label, runs, histories))
            file.flush()
            took = time.perf_counter() - started
            print(f"{label:36} {summary(histories, expected, given.seeds)}; {took:.0f} s", flush=True)
    print(f"written to {out}")


if __name__ == "__main__":
    main()
