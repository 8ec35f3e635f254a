"""The scripts for a GPU run to their end on the CPU: whoever has one at last must meet no slip of the pen."""

from __future__ import annotations

import csv
import importlib.util
import os
import queue
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from noiseproof.training import Way

FOLDER = Path(__file__).parent.parent / "benchmarks"


def rows_of(script: str, out: Path, *arguments: str) -> list[dict[str, str]]:
    """What a script writes when it is rehearsed."""
    subprocess.run(
        [sys.executable, FOLDER / script, "--device", "cpu", "--tiny", "--out", out, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        timeout=300,
    )
    with out.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_throughput(tmp_path: Path) -> None:
    rows = rows_of(
        "train_throughput.py", tmp_path / "t.csv", "--no-compile", "--runs", "2", "--seconds", "0.01"
    )
    assert [(row["implementation"], row["runs"], row["processes"]) for row in rows] == [
        ("plain loop", "1", "1"),
        ("eager, bfloat16", "1", "1"),
        ("graph", "2", "1"),
        ("graph, a stream each", "2", "1"),
        ("stack, float32", "1", "1"),
        ("stack, float32", "4", "1"),
        ("processes, a graph each", "2", "2"),
        ("processes, a graph each", "4", "4"),
    ]
    assert all(float(row["images_per_second"]) > 0 for row in rows)
    assert rows[0]["ratio_to_plain"] == "1.0"


@pytest.mark.slow
def test_throughput_of_some_only(tmp_path: Path) -> None:
    options = ("--seconds", "0.01", "--runs", "1", "--only", "graph")
    rows = rows_of("train_throughput.py", tmp_path / "t.csv", "--no-compile", *options)
    assert [row["implementation"] for row in rows] == ["plain loop", "graph"]
    with pytest.raises(subprocess.CalledProcessError) as raised:
        rows_of("train_throughput.py", tmp_path / "t.csv", "--only", "grpah")
    assert b"unknown: grpah; there are plain loop; " in raised.value.stderr


@pytest.fixture
def train_throughput(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    script = loaded("train_throughput", monkeypatch)
    monkeypatch.setattr(script, "LOOK_EVERY", 0.001)
    return script


def test_one_stream_is_measured_for_the_least_and_the_most_runs(train_throughput: ModuleType) -> None:
    bench = train_throughput.Bench.of(torch.device("cpu"), tiny=True, seconds=0.01)
    found = list(train_throughput.rivals(bench, [1, 2, 4], compiled=False))
    assert [rival.runs for rival in found if rival.implementation == "graph"] == [1, 4]
    assert [rival.runs for rival in found if rival.implementation == "graph, a stream each"] == [1, 2, 4]


def test_what_is_measured_is_training(train_throughput: ModuleType) -> None:
    """All is captured before, batches are whole, and there is next to nothing to evaluate."""
    prepared: list[bool] = []
    bench = train_throughput.Bench.of(torch.device("cpu"), tiny=True, seconds=0.01)
    training = train_throughput._concurrent(bench, 2, Way())
    train_throughput.speed_of(training, 0.01, lambda: prepared.append(training.prepared))
    assert prepared == [True]
    for tiny in (True, False):
        bench = train_throughput.Bench.of(torch.device("cpu"), tiny=tiny, seconds=None)
        assert len(bench.dataset.train_labels) % bench.recipe.batch_size == 0
        assert len(bench.dataset.test_labels) == 10


def test_an_ideal_step_is_counted_by_hand(train_throughput: ModuleType) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    outputs, weights = 4 * 8 * 8, 4 * 3 * 9 + 4 + 2 * 4
    found = train_throughput.ideal_bytes(network, torch.randn(2, 3, 8, 8), 16)
    assert found == 14 * 2 * outputs + (6 + 8 + 20) * weights / 16


@pytest.mark.filterwarnings("default")  # of the compiler's own modules
def test_a_compiled_step_is_counted_by_the_compiler(train_throughput: ModuleType) -> None:
    """A product forward, one backward; also of what was compiled before, and may be in a cache."""
    samples, inputs, outputs = 8, 16, 32
    x, y, weights = samples * inputs, samples * outputs, inputs * outputs
    forward, backward, update = 4 * (x + weights + y), 4 * (y + x + weights), 20 * weights
    for _ in range(2):
        network, images = nn.Linear(inputs, outputs, bias=False), torch.randn(samples, inputs)
        found = train_throughput.compiled_bytes(network, images, half=False)
        assert found == (forward + backward + update) / samples


def test_limits_are_those_of_either_count(train_throughput: ModuleType) -> None:
    limits = train_throughput.Roofline(
        flop_per_second=1000.0,
        bytes_per_second=600.0,
        flop_of_image=10.0,
        ideal_bytes=2.0,
        compiled_bytes=3.0,
    )
    assert limits.arithmetic == 100.0
    assert (limits.bandwidth(2.0), limits.bandwidth(3.0)) == (300.0, 200.0)
    assert limits.in_turn(2.0) == pytest.approx(75.0)


def test_a_process_that_dies_is_not_waited_for(
    train_throughput: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def process(exitcode: int | None) -> Any:
        return SimpleNamespace(exitcode=exitcode, is_alive=lambda: exitcode is None)

    results: queue.Queue[float] = queue.Queue()
    with pytest.raises(RuntimeError, match="exit code -9"):
        train_throughput.awaited(results, [process(None), process(-9)])
    results.put(3.0)
    results.put(4.0)
    assert train_throughput.awaited(results, [process(0), process(None)]) == [3.0, 4.0]
    monkeypatch.setattr(train_throughput, "PATIENCE", 0.0)
    with pytest.raises(RuntimeError, match="no result"):
        train_throughput.awaited(results, [process(None)])


@pytest.mark.slow
def test_agreement(tmp_path: Path) -> None:
    ways = ("float32, eager, alone", "bfloat16, graph, together")
    rows = rows_of(
        "engine_agreement.py", tmp_path / "a.csv", "--epochs", "2", "--seeds", "1", "--ways", *ways
    )
    assert [(row["way"], row["loss"], row["epoch"]) for row in rows] == [
        (way, loss, epoch) for way in ways for loss in ("ce", "nce + mae") for epoch in ("1", "2")
    ]
    assert all(0 < float(row["test_accuracy"]) < 1 for row in rows)


@pytest.mark.slow
def test_anatomy(tmp_path: Path) -> None:
    rows = rows_of("step_anatomy.py", tmp_path / "s.csv", "--runs", "2")
    kinds = {"idle", "convolutions and matrix products", "batch normalization", "optimizer"}
    assert kinds <= {row["kind"] for row in rows}
    assert sum(float(row["share"]) for row in rows) == pytest.approx(1, abs=0.01)
    kernels = {row["kind"]: float(row["kernels"]) for row in rows}
    # of two runs: 20 batch normalizations forward and backward, an update of all weights
    assert (kernels["batch normalization"], kernels["optimizer"], kernels["idle"]) == (2 * 40, 2, 0)


def loaded(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A script as a module."""
    specification = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    script = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, name, script)  # where its data classes look for it
    specification.loader.exec_module(script)
    return script


@pytest.fixture
def step_anatomy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return loaded("step_anatomy", monkeypatch)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("void cudnn::bn_fw_tr_1C11_kernel_NCHW<__half, float>", "batch normalization"),
        ("void at::native::batch_norm_collect_statistics_channels_last_kernel<...>", "batch normalization"),
        ("triton_red_fused__native_batch_norm_legit_functional_convolution_5", "batch normalization"),
        ("triton_poi_fused__to_copy_3", "compiled, without batch normalization"),
        (
            "sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc",
            "convolutions and matrix products",
        ),
        (
            "void cutlass__5x_cudnn::Kernel<cutlass_tensorop_bf16_s16816dgrad>",
            "convolutions and matrix products",
        ),
        ("nvjet_hsh_128x32_64x10_1x2_v_bz_TNN", "convolutions and matrix products"),
        ("void cudnn::ops::nchwToNhwcKernel<__half, __half, float>", "copies and layouts"),
        ("Memcpy DtoD (Device -> Device)", "copies and layouts"),
        ("void at::native::multi_tensor_apply_kernel<FusedSgdMathFunctor<float, 3>>", "optimizer"),
        ("void at::native::vectorized_elementwise_kernel<4, CUDAFunctor_add<float>>", "elementwise and sums"),
        ("_statistics", "loss"),
        ("something_new", "other"),
    ],
)
def test_a_kernel_is_known_by_its_name(step_anatomy: ModuleType, name: str, kind: str) -> None:
    assert step_anatomy.kind_of(name) == kind


def test_what_runs_side_by_side_shares_the_time(step_anatomy: ModuleType) -> None:
    def kernels(*spans: tuple[str, float, float]) -> list[Any]:
        return [step_anatomy.Kernel(*span) for span in spans]

    overlapping = kernels(("bn_fw", 10, 16), ("conv", 12, 14), ("conv", 12, 14), ("Memset", 20, 21))
    parts = {
        "batch normalization": 4 + 2 / 3,
        "convolutions and matrix products": 4 / 3,
        "idle": 4.0,
        "copies and layouts": 1.0,
    }
    assert step_anatomy.parts_of(overlapping) == pytest.approx(parts)
    assert step_anatomy.parts_of(reversed(overlapping)) == pytest.approx(parts)
    assert step_anatomy.parts_of(kernels(("bn_fw", 0, 2), ("bn_bw", 2, 5))) == {"batch normalization": 5.0}


@pytest.fixture
def smoke_gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "argv", ["smoke_gpu.py", "--device", "cpu"])
    return loaded("smoke_gpu", monkeypatch)


def test_the_first_minute(smoke_gpu: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        smoke_gpu.main()
    assert ended.value.code == 0
    names = [line.split(" s  ")[1].partition(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert names == [
        "machine",
        "losses are exact",
        "steps in a graph are right",
        "another kind of network is right",
    ]


def test_what_fails_in_the_first_minute_keeps_nothing_from_being_checked(
    smoke_gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(smoke_gpu, "PRECISIONS", dict.fromkeys(smoke_gpu.PRECISIONS, 0.0))
    monkeypatch.setattr(smoke_gpu, "agreement", lambda *_: "checked all the same")
    with pytest.raises(SystemExit) as ended:
        smoke_gpu.main()
    assert ended.value.code == 1
    out = capsys.readouterr().out
    assert "losses are exact: FAILED" in out
    assert "AssertionError: ce, torch.float32, 10 classes" in out
    assert "checked all the same" in out
