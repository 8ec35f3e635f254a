"""Bad input: one line that names it and the nearest choice, exit code 2, and nothing started."""

from __future__ import annotations

import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


def records(folder: Path) -> list[Path]:
    """Whatever a run would have left."""
    return [path for kind in ("json", "pt", "tmp") for path in folder.rglob(f"*.{kind}")]


def assert_refused(ran: subprocess.CompletedProcess[str], *faults: str) -> None:
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("error: ")
    assert ran.stderr.endswith("\n")
    assert ran.stderr.removesuffix("\n").isprintable()  # so it is one line
    for fault in faults:
        assert fault in ran.stderr


@pytest.mark.parametrize(
    ("command", "faults"),
    [
        # studies
        ("run digts", ["unknown study 'digts'; did you mean 'digits'?"]),
        ("run nowhere.toml", ["study 'nowhere.toml' cannot be read: No such file or directory\n"]),
        ("run tiny.yaml", ["unknown study 'tiny.yaml'"]),
        ("run typo.toml", ["study 'typo.toml'", "unknown field 'recipe.epohcs'; did you mean 'epochs'?"]),
        ("run half.toml", ["study 'half.toml' is not valid TOML"]),
        # certificates
        ("certify ncee", ["unknown loss 'ncee' at column 1; did you mean 'nce'?"]),
        ("certify nce --classes 1", ["num_classes must be a whole number from 2 to 1000, got 1"]),
        ("certify nce --figure forces.gif", ["must end in .png, .svg or .pdf, got 'forces.gif'"]),
        ("compare nowhere", ["'nowhere' is no folder, or not there"]),
        # searches
        ("tune digits --loss a*nce", ["the study has 8: symmetric:0.2, ", "say which (--noise)"]),
        ("tune digts --loss a*nce", ["unknown study 'digts'; did you mean 'digits'?"]),
        ("tune smoke --noise none --loss nce", ["loss 'nce' has no free name"]),
        ("tune smoke --noise none --loss a*ncee", ["unknown loss 'ncee'", "did you mean 'nce'?"]),
        ("tune smoke --noise nune --loss a*nce", ["unknown kind 'nune'; did you mean 'none'?"]),
        ("tune smoke --noise none --loss a*nce --range b=1:2", ["has no name 'b' to search"]),
        ("tune smoke --noise none --loss a*nce --range a", ["--range must be NAME=LOW:HIGH", "got 'a'"]),
        ("tune smoke --noise none --loss a*nce --range a=2:1", ["low end must be below", "got 2:1"]),
        ("tune smoke --noise none --loss gce(q=q) --range q=0.1:2", ["q of gce must be", "got 2.0"]),
        ("tune smoke --noise none --loss a*nce --trials 0", ["--trials must be at least 1, got 0"]),
        ("tune smoke --noise none --loss a*nce --holdout 1", ["'holdout': input should be less than 1"]),
        ("tune smoke --noise none --loss a*nce --holdout 0.001", ["0.001 of the 1437 noisy labels cannot"]),
        ("tune smoke --noise none --loss a*nce --batch 0", ["'batch'", "got 0"]),
        ("tune smoke --noise none --loss a*nce --device gpu", ["device 'gpu' cannot be used"]),
        ("tune smoke --noise none --loss a*nce --out file/x", ["'file/x' cannot be written to"]),
        ("tune --loss a*nce", ["tune takes a study", "or --data", "and got neither"]),
        ("tune smoke --data digits --loss a*nce", ["and not both; --set data=... changes the data"]),
        ("tune --data digts --loss a*nce", ["unknown data set 'digts'; did you mean 'digits'?"]),
        ("tune --data npz:nowhere.npz --loss a*ncee", ["unknown loss 'ncee'", "did you mean 'nce'?"]),
        ("tune --data npz:nowhere.npz --loss a*nce", ["data file 'nowhere.npz' does not exist"]),
        ("tune --data npz:x.npz --loss a*nce --noise nune", ["unknown kind 'nune'"]),
        # numbers
        ("run smoke --seeds 0", ["--seeds must be at least 1, got 0"]),
        ("run smoke --seeds -1", ["--seeds must be at least 1, got -1"]),
        ("run smoke --time-budget soon", ["got 'soon'", "9m, 90s or 1h30m"]),
        ("run smoke --time-budget 0", ["got '0'"]),
        ("run smoke --time-budget=", ["got ''", "9m, 90s or 1h30m"]),
        ("train --loss ce --time-budget 1m1h", ["got '1m1h'"]),
        ("train --loss ce --epochs 0", ["error: training on 'digits': field 'recipe.epochs'", "got 0"]),
        (f"train --loss ce --epochs 1 --seed {2**64}", [str(2**64)]),
        ("losses --classes 1", ["--classes must be at least 2, got 1"]),
        # an epoch's last batch
        (
            "run smoke --set model={name='cnn4'} --set recipe.batch_size=359",
            ["1437 images in batches of 359 ends in a single one", "recipe.batch_size = 358 leaves none"],
        ),
        (
            "tune smoke --noise none --loss a*nce --set model={name='cnn4'} --set recipe.batch_size=82",
            ["1149 images in batches of 82 ends in a single one, on which the network 'cnn4' cannot be"],
        ),
        # settings
        ("run smoke --set recipe.epochs", ["--set must be NAME=VALUE", "got 'recipe.epochs'"]),
        ("run smoke --set recipe.epohcs=3", ["unknown field 'recipe.epohcs'; did you mean 'epochs'?"]),
        ("run smoke --set recipe.epochs=three", ["'recipe.epochs'", "got 'three'"]),
        ("run smoke --set recipe.epochs=", ["'recipe.epochs'", "got ''"]),
        ("run smoke --set epochs=3", ["unknown field 'epochs'; did you mean 'recipe.epochs'?"]),
        (
            "run smoke --set losses=nce",
            ["field 'losses': input should be a list, such as ['nce'], got 'nce'"],
        ),
        ("run smoke --set =3", ["unknown field ''"]),
        ("run smoke --set losses=['ncee']", ["unknown loss 'ncee'", "did you mean 'nce'?"]),
        ("run smoke --set title.x=3", ["'title' is no table"]),
        # an option and a setting
        (
            "run smoke --seeds 3 --set seeds=[7]",
            ["--set seeds and --seeds both set seeds; give --seeds alone"],
        ),
        ("train --loss ce --set losses=['mae']", ["--set losses and --loss both set losses"]),
        ("train --loss ce --set noises=['given']", ["--set noises and --noise both set noises"]),
        ("train --loss ce --set seeds=[1]", ["--set seeds and --seed both set seeds; give --seed alone"]),
        ("train --loss ce --set data=mnist", ["--set data and --data both set data; give --data alone"]),
        ("train --loss ce --epochs 2 --set recipe.epochs=3", ["both set recipe.epochs; give --epochs alone"]),
        ("train --loss ce --epochs 2 --set recipe={}", ["--set recipe and --epochs both set recipe.epochs"]),
        ("train --loss ce --model cnn4 --set model.name=cnn8", ["--set model.name and --model both set"]),
        ("train --loss ce --width 2 --set model.width=3", ["--set model.width and --width both set"]),
        ("tune smoke --loss a*nce --noise none --set noises=['given']", ["--set noises and --noise both"]),
        ("tune smoke --loss a*nce --set seeds=[1]", ["--set seeds and --seed both set seeds"]),
        ("tune smoke --loss a*nce --epochs 2 --set recipe.epochs=3", ["give --epochs alone"]),
        ("tune --data digits --loss a*nce --set noises=['given']", ["--set noises and --noise both"]),
        # losses, noises, data, networks
        ("train --loss a*nce", ["at column 1 ('a' is a free name: `noiseproof tune` searches it)"]),
        ("certify a*nce+gce(q=b)", ["('a', 'b' are free names: `noiseproof tune` searches them)"]),
        ("certify a*ncee", ["expected a loss, a weight * a loss, or a sum of these at column 1\n"]),
        ("train --loss ncee+mae", ["error: loss 'ncee+mae': unknown loss 'ncee' at column 1; did you mean"]),
        ("train --loss=", ["a loss text is empty"]),
        ("train --loss ce --noise symmetric:1.2", ["got 1.2; the nearest valid rate is 1"]),
        ("train --loss ce --noise symetric:0.2", ["unknown kind 'symetric'; did you mean 'symmetric'?"]),
        ("train --loss ce --data cifar", ["unknown data set 'cifar'; did you mean 'cifar10'?"]),
        ("train --loss ce --data smoke", ["unknown data set 'smoke'"]),
        (
            "train --loss ce --model resnet1",
            ["error: training on 'digits': field 'model': unknown name 'resnet1'; did you mean 'resnet18'?"],
        ),
        ("train --loss ce --width 8", ["unknown field 'model.width'"]),
        ("train --loss ce --model resnet18 --width 0", ["'model.width'", "got 0"]),
        ("train --loss ce --model cnn4 --width 8", ["unknown field 'model.width'"]),
        ("train --loss ce --model nowhere:make", ["there is no module 'nowhere' for 'nowhere:make'"]),
        ("train --loss ce --model json:dmps", ["'json' has no 'dmps'", "did you mean 'dumps'?"]),
        ("train --loss ce --model nowhere:", ["'nowhere:' must be MODULE:NAME, such as 'my_nets:make'"]),
        ("audit symmetric:1.2", ["got 1.2; the nearest valid rate is 1"]),
        ("audit given", ["digits has one label for each image and none beside it"]),
        ("audit pair:0.2", ["did you mean 'pairflip'?"]),
        ("audit none --data cifr10", ["unknown data set 'cifr10'; did you mean 'cifar10'?"]),
        # devices
        ("run smoke --device cuda:99", ["device 'cuda:99' cannot be used", "expected auto, cpu, cuda"]),
        ("train --loss ce --device gpu", ["device 'gpu' cannot be used (it is neither cpu nor cuda); exp"]),
        # files and folders
        ("run smoke --out file/below", ["folder 'file/below' cannot be written to"]),
        ("train --loss ce --out file", ["folder 'file' cannot be written to"]),
        ("run smoke --data-dir .", ["the digits come with scikit-learn and take no --data-dir"]),
        ("run cifar10 --data-dir nowhere", ["data folder 'nowhere' does not exist"]),
        ("run cifar10 --data-dir .", ["holds neither cifar-10-batches-py/test_batch nor cifar-10-python"]),
        ("audit none --data cifar10 --data-dir nowhere", ["data folder 'nowhere' does not exist"]),
        ("report nowhere", ["'nowhere' is no folder, or not there"]),
        ("report file", ["'file' is no folder, or not there"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_one_line_and_nothing_is_started(
    cli: Run, here: Path, command: str, faults: list[str]
) -> None:
    study = (here / "tiny.toml").read_text()
    (here / "typo.toml").write_text(study.replace("epochs", "epohcs"))
    (here / "half.toml").write_text(study[:40])
    (here / "file").write_text("")
    assert_refused(cli(*command.split(" ")), *faults)
    assert records(here) == []


@pytest.mark.parametrize(
    ("command", "faults"),
    [
        ("rum", ["No such command 'rum'", "Did you mean 'run'?"]),
        ("run smoke --bogus", ["No such option", "--bogus"]),
        ("run smoke --seed 3", ["No such option", "--seed"]),
        ("run smoke --seeds many", ["--seeds", "valid integer"]),
        ("run smoke digits", ["unexpected extra argument", "digits"]),
        ("run smoke --set", ["--set", "requires an argument"]),
        ("train", ["Missing option", "--loss"]),
        ("train --loss ce --epochs few", ["--epochs", "valid integer"]),
        ("train --loss ce --seed -1", ["--seed"]),
        ("audit none --seed -1", ["--seed"]),
        ("report", ["Missing argument", "folder"]),
        ("losses --classes ten", ["--classes", "valid integer"]),
        ("audit", ["Missing argument", "noise"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_command_is_answered_by_the_option_that_is_wrong(
    cli: Run, here: Path, command: str, faults: list[str]
) -> None:
    ran = cli(*command.split(" "))
    assert (ran.returncode, ran.stdout) == (2, "")
    (error,) = (line for line in ran.stderr.splitlines() if line.startswith("Error: "))
    for fault in faults:
        assert fault.lower() in error.lower()
    assert records(here) == []


class Poison:
    """Unpickled, it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, ...]]:
        return Path, (str(self.path),)


@pytest.mark.parametrize(
    ("name", "damage", "fault"),
    [
        ("data_batch_3", None, "CIFAR-10 file 'data_batch_3' cannot be read ("),
        (
            "data_batch_5",
            b"",
            "CIFAR-10 file 'data_batch_5' is damaged (no well-formed pickle: pickle exhausted",
        ),
        ("test_batch", b"no pickle", "CIFAR-10 file 'test_batch' is damaged ("),
        ("data_batch_1", pickle.dumps({"data": 3}), "CIFAR-10 file 'data_batch_1' is damaged ("),
        ("data_batch_2", pickle.dumps(Poison(Path("x"))), "is not allowed in a data file"),
        ("test_batch", None, "holds neither cifar-10-batches-py/test_batch nor cifar-10-python.tar.gz"),
    ],
)
def test_a_missing_or_damaged_data_file_is_named(
    cli: Run, here: Path, cifar10: Path, name: str, damage: bytes | None, fault: str
) -> None:
    if damage is None:
        (cifar10 / name).unlink()
    else:
        (cifar10 / name).write_bytes(damage)
    ran = cli("train", "--loss", "ce", "--data", "cifar10", "--data-dir", str(cifar10))
    assert_refused(ran, fault)
    assert records(here) == []


def test_bad_input_looks_the_same_from_outside(python: Run, here: Path) -> None:
    assert_refused(python("-m", "noiseproof", "train", "--loss", "ncee+mae"), "did you mean 'nce'?")
    assert not (here / "out").exists()
