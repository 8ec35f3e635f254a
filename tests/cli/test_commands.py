"""What each command prints and writes."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import torch

from noiseproof import __version__
from noiseproof.cli import main
from noiseproof.cli.display import show_report, show_run
from noiseproof.cli.progress import ProgressDisplay
from noiseproof.losses import CATALOGUE, MeanAbsoluteError, Properties
from noiseproof.noise.class_maps import CIFAR10_CLASSES
from noiseproof.report import CLAIMS, Judged, Report, Verdict, published, table
from noiseproof.study import Archive, Progress, load_study
from noiseproof.training import StackedTraining

Ran = subprocess.CompletedProcess[str]
Run = Callable[..., Ran]

COMMANDS = ("run", "train", "tune", "report", "compare", "losses", "certify", "audit")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


# --------------------------------------------------------------------------------------------- help


def test_help_and_version_are_quick_because_torch_is_not_imported(python: Run) -> None:
    code = """
import sys
import noiseproof
from noiseproof.cli import main

for arguments in ["--version"], ["--help"], *([name, "--help"] for name in sys.argv[1:]):
    sys.argv = ["noiseproof", *arguments]
    try:
        main()
    except SystemExit as stopped:
        assert not stopped.code, arguments
heavy = {"torch", "numpy", "sklearn", "skorch", "matplotlib", "optuna"} & set(sys.modules)
assert not heavy, heavy
assert noiseproof.losses.parse("nce+mae")
assert "torch" in sys.modules
"""
    ran = python("-c", code, *COMMANDS)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith(f"noiseproof {__version__}\n")
    for name in COMMANDS:
        assert re.search(rf"^  {name}  ", ran.stdout, re.MULTILINE)
    for option in ("--set", "--seeds", "--time-budget", "--data-dir", "--device", "--width", "--classes"):
        assert option in ran.stdout


def test_without_a_command_the_help_is_shown(cli: Run) -> None:
    ran = cli()
    assert "Usage: noiseproof" in ran.stdout + ran.stderr
    assert all(name in ran.stdout + ran.stderr for name in COMMANDS)


def test_the_installed_command_is_this_one() -> None:
    (script,) = entry_points(group="console_scripts", name="noiseproof")
    assert script.load() is main


# ---------------------------------------------------------------------------------------------- run


def test_a_study_from_the_first_run_to_the_report_made_again(python: Run, cli: Run, here: Path) -> None:
    ran = python("-m", "noiseproof", "run", "tiny.toml")
    assert (ran.returncode, ran.stderr) == (0, "")
    out = here / "out" / "tiny"
    assert {path.name for path in (out / "runs").iterdir()} == {
        f"{run.id}.json" for run in load_study("tiny.toml").runs()
    }
    assert list((out / "checkpoints").iterdir()) == []
    for name, kind in (("table1", "symmetric"), ("table2", "asymmetric")):
        assert f"{name}: digits with {kind} label noise, 2 epochs" in ran.stdout
        for row in csv.DictReader((out / "report" / f"{name}.csv").read_text().splitlines()):
            assert re.search(rf"│ {re.escape(row['loss'])} +│ +{row['0.4']} │", ran.stdout)
    path = Path("out") / "tiny" / "report" / "claims.csv"
    assert f"\nNo claim of the study can be asked of these results; {path} says why.\n" in ran.stdout
    claims = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["claim"] for row in claims] == [f"{claim.statement} ({claim.section})" for claim in CLAIMS]
    assert {row["ours"] for row in claims} == {"not enough data"}
    *_, done, page = ran.stdout.splitlines(keepends=True)
    assert re.fullmatch(r"4 of 4 runs done, \d+ s of training; everything is in out/tiny\n", done)
    assert page == f"to look at: {Path('out') / 'tiny' / 'report' / 'index.html'}\n"
    assert "<h1>tiny</h1>" in (out / "report" / "index.html").read_text()

    before = contents(out)
    times = {path: path.stat().st_mtime_ns for path in (out / "runs").iterdir()}
    again = cli("run", "tiny.toml")
    assert (again.returncode, again.stderr) == (0, "")
    assert "4 of 4 runs done, 0 s of training" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in (out / "runs").iterdir()} == times
    assert contents(out) == before

    for path in (out / "report").iterdir():
        path.unlink()
    (out / "report").rmdir()
    report = python("-m", "noiseproof", "report", "out/tiny", PYTHONHASHSEED="7", MPLBACKEND="svg")
    assert (report.returncode, report.stderr) == (0, "")
    assert report.stdout == ran.stdout.replace(done, f"report in {Path('out') / 'tiny' / 'report'}\n")
    assert contents(out) == before


@pytest.mark.usefixtures("no_figures")
def test_options_of_run_change_the_study(cli: Run, here: Path) -> None:
    ran = cli(
        "run", "tiny.toml", "--out", "deep/er", "--seeds", "2", "--device", "cpu", "--time-budget", "1h",
        "--set", "recipe.epochs=1", "--set", "losses = ['ce']", "--set", "title=no quotes",
        "--set", "noises=['symmetric:0.4']",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "2 of 2 runs done" in ran.stdout
    plan = Archive(here / "deep" / "er").plan()
    assert plan == load_study(
        "tiny.toml",
        {
            "recipe.epochs": 1,
            "losses": ["ce"],
            "title": "no quotes",
            "noises": ["symmetric:0.4"],
            "seeds": [0, 1],
        },
    )
    assert "± " in ran.stdout


@pytest.mark.usefixtures("no_figures")
def test_epochs_go_to_tensorboard(cli: Run, here: Path) -> None:
    losses = ("--set", "losses=['ce']", "--set", "noises=['none']")
    assert cli("run", "tiny.toml", *losses, "--tensorboard", "board").returncode == 0
    assert [path.name for path in (here / "board").iterdir()] == ["ce_none_seed-0"]


@pytest.mark.usefixtures("no_figures")
def test_more_seeds_later_train_only_those(cli: Run, here: Path) -> None:
    one = ("run", "tiny.toml", "--set", "losses=['ce']", "--out", "out")
    assert cli(*one).returncode == 0
    before = contents(here / "out" / "runs")
    assert "4 of 4 runs done" in cli(*one, "--seeds", "2").stdout
    assert contents(here / "out" / "runs").items() > before.items()


@pytest.mark.usefixtures("no_figures")
def test_a_folder_of_another_configuration_is_refused(cli: Run, here: Path) -> None:
    assert cli("run", "tiny.toml").returncode == 0
    before = contents(here)
    ran = cli("run", "tiny.toml", "--set", "recipe.epochs=3")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "error: 'out/tiny' holds runs of another configuration (recipe.epochs = 2 against 3);"
        " choose another --out\n"
    )
    assert contents(here) == before


@pytest.mark.usefixtures("no_figures")
def test_out_of_time_saves_says_so_and_goes_on(cli: Run, here: Path) -> None:
    ran = cli("run", "tiny.toml", "--time-budget", "0.001s")
    assert ran.returncode == 0
    assert ran.stdout.splitlines() == [
        "0 of 4 runs done, 0 s of training; everything is in out/tiny",
        "out of time: the same command goes on from here",
    ]
    assert len(list((here / "out" / "tiny" / "checkpoints").iterdir())) == 4
    assert "4 of 4 runs done" in cli("run", "tiny.toml").stdout
    assert list((here / "out" / "tiny" / "checkpoints").iterdir()) == []


@pytest.mark.usefixtures("no_figures")
def test_a_damaged_record_is_a_warning_and_done_again(cli: Run, here: Path) -> None:
    assert cli("run", "tiny.toml").returncode == 0
    path = here / "out" / "tiny" / "runs" / "ce_symmetric-0.4_seed-0.json"
    whole = read(path)
    path.write_bytes(path.read_bytes()[:50])
    ran = cli("run", "tiny.toml")
    assert ran.returncode == 0
    (line,) = ran.stderr.splitlines()
    assert line.startswith("warning: record 'out/tiny/runs/ce_symmetric-0.4_seed-0.json' is damaged (")
    assert line.endswith("; its run counts as not done")
    assert read(path)["test_accuracy"] == pytest.approx(whole["test_accuracy"], abs=0.01)


@pytest.mark.usefixtures("no_figures")
def test_a_diverged_run_is_marked_wherever_it_is_shown(
    cli: Run, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = cli("run", "tiny.toml", "--set", "recipe.learning_rate=1e30", "--set", "losses=['ce']")
    assert ran.returncode == 0
    out = here / "out" / "tiny"
    show_run(Archive(out).finished()["ce_symmetric-0.4_seed-0"], out, None)
    assert "the run diverged: its loss was not finite" in capsys.readouterr().out
    assert "[diverged]" in (out / "report" / "table1.md").read_text()
    assert "[diverged]" in ran.stdout


@pytest.mark.usefixtures("no_figures")
def test_a_run_out_of_memory_is_marked_wherever_it_is_shown(
    cli: Run, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = StackedTraining.advance

    def limited(training: StackedTraining) -> None:
        if len(training.runs) > 1 or str(training.runs[0].loss) == "ce":
            raise torch.OutOfMemoryError("CUDA out of memory")
        advance(training)

    monkeypatch.setattr(StackedTraining, "advance", limited)
    ran = cli("run", "tiny.toml")
    assert ran.returncode == 0
    out = here / "out" / "tiny"
    show_run(Archive(out).finished()["ce_symmetric-0.4_seed-0"], out, None)
    assert "out of memory after 0 epochs: the run does not fit the device" in capsys.readouterr().out
    assert "| CE | out of memory |" in (out / "report" / "table1.md").read_text()
    assert "out of memory" in ran.stdout


@pytest.mark.usefixtures("no_figures")
def test_progress_is_told_on_standard_error(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noiseproof.cli.progress.LINE_EVERY", 0.0)
    ran = cli("run", "tiny.toml")
    lines = ran.stderr.splitlines()
    assert len(lines) == 24 + 1  # a line for each step, and the end
    first = r"0/4 runs, 4 %, ce, symmetric:0\.4 and 3 more, epoch 0, \d+:\d\d left"
    assert re.fullmatch(first, lines[0])
    assert lines[-1].startswith("4/4 runs, 100 %, ")
    assert re.search(r"epoch 2, \d+\.\d % correct, 0:00 left$", lines[-1])


def test_what_comes_before_the_training_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressDisplay() as display:
        display.show(Progress(0, 64, 0.0, trying=1))
        display.show(Progress(0, 64, 0.0, trying=16, compiled=True))
        display.show(Progress(16, 64, 0.25, preparing=16))
        display.show(Progress(32, 64, 0.5, preparing=1))
    assert capsys.readouterr().err == (
        "0/64 runs, 0 %, finding the quickest way: 1 run at once\n"
        "0/64 runs, 0 %, finding the quickest way: 16 runs at once, compiled, which takes a minute\n"
        "16/64 runs, 25 %, preparing 16 runs\n"
        "32/64 runs, 50 %, preparing 1 run\n"
    )


# -------------------------------------------------------------------------------------------- train


def test_train_prints_what_its_record_says(cli: Run, here: Path) -> None:
    arguments = (
        "train", "--loss", "NCE + 2*mae", "--noise", "symmetric:0.25", "--epochs", "3", "--seed", "5",
        "--model", "mlp",
    )  # fmt: skip
    ran = cli(*arguments)
    assert (ran.returncode, ran.stderr) == (0, "")
    (path,) = (here / "out" / "train").glob("nce+2-mae_symmetric-0.25_seed-5_*/runs/*.json")
    record = read(path)
    assert record["config"]["seed"] == 5
    assert record["config"]["loss"] == "nce + 2*mae"
    assert record["config"]["recipe"]["epochs"] == len(record["history"]["test"]) == 3
    best, noise, history = record["best"], record["noise"], record["history"]
    lines = ran.stdout.splitlines()
    network = path.parent.with_name("networks") / f"{path.stem}.pt"
    assert lines[:5] == [
        f"test accuracy {100 * record['test_accuracy']:.2f} % after epoch 3 (best, for comparison:"
        f" {100 * best['test_accuracy']:.2f} % after epoch {best['epoch']})",
        f"wrong labels: {100 * noise['achieved_rate']:.2f} % of 1437",
        f"of these, {100 * history['memorized'][-1]:.2f} % were memorized and"
        f" {100 * history['recovered'][-1]:.2f} % predicted as what they really are",
        f"record in {path.relative_to(here)}",
        f"network in {network.relative_to(here)}, for noiseproof.models.load_network",
    ]
    assert lines[5].startswith("1 of 1 runs done, ")
    before = contents(here)
    again = cli(*arguments)
    assert again.stdout.splitlines()[:5] == lines[:5]
    assert "0 s of training" in again.stdout
    assert contents(here) == before


@pytest.mark.parametrize(
    ("model", "config"),
    [
        ("cnn4", {"name": "cnn4"}),
        ("nets_in_this_folder:make", {"name": "factory", "path": "nets_in_this_folder:make", "options": {}}),
    ],
)
def test_train_takes_a_network_by_its_name_or_by_an_import_path(
    cli: Run, here: Path, model: str, config: dict[str, object]
) -> None:
    source = (
        "from torch import nn\n\n"
        "def make(num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(64, num_classes))\n"
    )
    (here / "nets_in_this_folder.py").write_text(source)
    if model != "cnn4":
        config = config | {"code": hashlib.sha256(source.encode()).hexdigest()[:12]}
    ran = cli("train", "--loss", "ce", "--epochs", "1", "--model", model, "--out", "here")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert read(here / "here" / "runs" / "ce_none_seed-0.json")["config"]["model"] == config


def test_train_without_noise_has_nothing_to_memorize(cli: Run, here: Path) -> None:
    ran = cli("train", "--loss", "ce", "--epochs", "1", "--out", "here")
    assert ran.returncode == 0
    assert "no label was made wrong" in ran.stdout
    assert "memorized" not in ran.stdout
    assert (here / "here" / "runs" / "ce_none_seed-0.json").is_file()


def test_trainings_that_differ_have_folders_that_differ(cli: Run, here: Path) -> None:
    for epochs in ("1", "2"):
        assert cli("train", "--loss", "ce", "--epochs", epochs).returncode == 0
    assert len(list((here / "out" / "train").iterdir())) == 2


def test_train_out_of_time_goes_on(cli: Run) -> None:
    arguments = ("train", "--loss", "mae", "--epochs", "1")
    ran = cli(*arguments, "--time-budget", "0.001")
    assert ran.returncode == 0
    assert "test accuracy" not in ran.stdout
    assert "out of time: the same command goes on from here" in ran.stdout
    assert "test accuracy" in cli(*arguments).stdout


def test_cifar10_end_to_end_on_files_of_ones_own(cli: Run, here: Path, cifar10: Path) -> None:
    arguments = (
        "train", "--data", "cifar10", "--data-dir", str(cifar10), "--model", "resnet18", "--width", "2",
        "--epochs", "1", "--loss", "nce+mae", "--noise", "asymmetric:0.4",
    )  # fmt: skip
    ran = cli(*arguments)
    assert ran.returncode == 0, ran.stderr
    (warning,) = ran.stderr.splitlines()
    assert warning.startswith("warning: 6 of 6 CIFAR-10 files differ from the canonical ones")
    (path,) = (here / "out" / "train").glob("*/runs/nce+mae_asymmetric-0.4_seed-0.json")
    record = read(path)
    assert re.search(rf"test accuracy {100 * record['test_accuracy']:.2f} % after epoch 1 ", ran.stdout)
    assert record["config"]["model"] == {"name": "resnet18", "width": 2, "stem": "cifar"}
    assert record["config"]["recipe"]["crop_padding"] == 4
    assert record["data"] | {"fingerprint": ""} == {
        "name": "cifar10", "fingerprint": "", "canonical": False, "train_size": 100, "test_size": 20,
        "class_names": list(CIFAR10_CLASSES), "class_map": {"2": 0, "3": 5, "4": 7, "5": 3, "9": 1},
    }  # fmt: skip
    assert record["data"]["fingerprint"][:12] in warning
    # ten of each class: truck -> automobile, bird -> airplane, deer -> horse, cat <-> dog
    wrong = {
        (i, j): n for i, row in enumerate(record["noise"]["counts"]) for j, n in enumerate(row) if i != j
    }
    assert {pair: n for pair, n in wrong.items() if n} == {
        (9, 1): 4, (2, 0): 4, (4, 7): 4, (3, 5): 4, (5, 3): 4,
    }  # fmt: skip
    # other files under the same name are other data
    batch = cifar10 / "test_batch"
    batch.write_bytes((cifar10 / "data_batch_1").read_bytes())
    refused = cli(*arguments)
    assert refused.returncode == 2
    assert "holds runs of another configuration (data " in refused.stderr


# ------------------------------------------------------------------------------------ losses and audit


def test_losses_lists_the_catalogue(cli: Run) -> None:
    ran = cli("losses")
    assert (ran.returncode, ran.stderr) == (0, "")
    for cls in CATALOGUE.values():
        first, *_ = cls.title.split()
        assert re.search(rf"│ {re.escape(str(cls()))} +│ {first} ", ran.stdout)
    assert "sum over 10" in ran.stdout
    assert "sum over 4" in cli("losses", "--classes", "4").stdout


def test_certify_prints_the_certificate_and_draws_it(cli: Run, here: Path) -> None:
    ran = cli("certify", "nce+mae", "--classes", "4", "--figure", "forces.svg")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("nce + mae, 4 classes\n  range               0 to 3\n")
    assert "claims              all borne out" in ran.stdout
    assert ran.stdout.rstrip().endswith("figure in forces.svg")
    assert (here / "forces.svg").read_text().startswith("<?xml")


def test_certify_gives_json_to_programs(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(json, "loads", None)  # what is made to be written is not read on the way
        written = cli("certify", "ce", "--classes", "3", "--json").stdout
    assert "Infinity" not in written
    data = json.loads(written)
    assert (data["loss"], data["num_classes"], data["constant_sum"]) == ("ce", 3, False)


def test_certify_says_what_is_not_borne_out(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = MeanAbsoluteError.properties

    def boast(loss: MeanAbsoluteError, num_classes: int) -> Properties:
        return replace(honest(loss, num_classes), upper=1.0)

    monkeypatch.setattr(MeanAbsoluteError, "properties", boast)
    assert (
        "claims              not borne out: upper bound: claimed 1.0, computed 2"
        in cli("certify", "mae").stdout
    )


def test_compare_ranks_results(cli: Run, here: Path) -> None:
    for folder in ("a", "b"):
        assert cli("run", "tiny.toml", "--out", folder).returncode == 0
    ran = cli("compare", "a", "b")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert re.search(r"│ a +│ 4 ", ran.stdout)
    assert cli("compare", "a", "nowhere").returncode == 2


def test_compare_refuses_results_of_different_studies(
    cli: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("train", "--loss", "ce", "--epochs", "1", "--out", "a").returncode == 0
    studies = iter([replace(published(), citation=name) for name in ("one", "other")])
    monkeypatch.setattr("noiseproof.report.published_beside", lambda _: next(studies))
    ran = cli("compare", "a", "a/../a")
    assert (ran.returncode, ran.stderr) == (2, "error: these are results of different studies: one; other\n")


def test_audit_shows_what_was_asked_and_what_was_drawn(cli: Run) -> None:
    ran = cli("audit", "asymmetric:0.4", "--seed", "1")
    assert (ran.returncode, ran.stderr) == (0, "")
    requested, achieved = re.findall(r"requested (\d+\.\d\d) %, achieved (\d+\.\d\d) % of 1437", ran.stdout)[
        0
    ]
    assert 0 < abs(float(requested) - float(achieved)) < 0.2
    assert float(requested) == pytest.approx(20, abs=0.5)
    assert cli("audit", "asymmetric:0.4", "--seed", "1").stdout == ran.stdout
    assert "achieved 0.00 %" in cli("audit", "none").stdout


def test_audit_of_cifar10(cli: Run, cifar10: Path) -> None:
    ran = cli("audit", "symmetric:0.5", "--data", "cifar10", "--data-dir", str(cifar10))
    assert ran.returncode == 0
    assert "achieved 50.00 % of 100" in ran.stdout


# ------------------------------------------------------------------------------------------- the rest


@pytest.mark.usefixtures("no_figures")
def test_a_path_with_brackets_is_printed_as_it_is(cli: Run) -> None:
    ran = cli("train", "--loss", "ce", "--noise", "symmetric:0.4", "--epochs", "1", "--out", "try[red]")
    assert f"record in {Path('try[red]') / 'runs' / 'ce_symmetric-0.4_seed-0.json'}" in ran.stdout
    report = cli("report", "try[red]").stdout
    assert f"{Path('try[red]') / 'report' / 'claims.csv'}" in report


def test_data_with_brackets_is_called_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    made = replace(table(published(), "symmetric", name="table1"), caption="npz:a[red].npz with labels")
    show_report(Report(Path("report"), Path("report/index.html"), (made,), ()))
    assert "table1: npz:a[red].npz with labels" in capsys.readouterr().out


def test_a_full_disk_is_one_line_and_not_the_users_fault(
    cli: Run, monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    ran = cli("run", "tiny.toml")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert re.fullmatch("error: No space left on device: out/tiny/study.json\n", ran.stderr)
    assert contents(here / "out") == {}


def test_claims_that_can_be_asked_are_printed_with_both_answers(capsys: pytest.CaptureFixture[str]) -> None:
    asked = Judged(CLAIMS[0], Verdict("holds", ""), Verdict("fails", ""))
    not_asked = Judged(CLAIMS[1], Verdict("not enough data", ""), Verdict("holds", ""))
    show_report(Report(Path("report"), Path("report/index.html"), (), (asked, not_asked)))
    printed = capsys.readouterr().out
    assert CLAIMS[0].statement[:60] in printed
    assert re.search(r"│ holds +│ fails +│", printed)
    assert "│ not enough data │ holds" in printed
    assert f"The figures behind each verdict: {Path('report') / 'claims.csv'}" in printed
