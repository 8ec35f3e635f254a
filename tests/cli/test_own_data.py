"""Data of one's own at the command line, from its files to the record."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from noiseproof.models import load_network

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def birds(here: Path) -> Path:
    """Ten owls and ten jays, the file they are in as well."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    for i, image in enumerate(images):
        folder = here / "private" / "birds" / ("owl", "jay")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i}.png")
    labels = np.array(["owl", "jay"])[np.arange(20) % 2]
    np.savez(here / "birds.npz", x=images, y=labels, given=np.where(np.arange(20) < 8, "owl", labels))
    return here / "private" / "birds"


def record_of(here: Path) -> dict[str, Any]:
    (path,) = (here / "out" / "train").glob("*/runs/*.json")
    content: dict[str, Any] = json.loads(path.read_text())
    assert "private" not in path.read_text()
    return content


def test_a_folder_of_images_is_trained_on(cli: Run, here: Path, birds: Path) -> None:
    ran = cli("train", "--data", f"folder:{birds}", "--loss", "nce+mae", "--epochs", "1")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "test accuracy" in ran.stdout
    assert "no label was made wrong" in ran.stdout
    (network,) = (here / "out" / "train").glob("*/networks/*.pt")
    assert f"network in {network.relative_to(here)}, for noiseproof.models.load_network" in ran.stdout
    assert load_network(network).class_names == ("jay", "owl")
    assert "wrong labels" not in ran.stdout  # of which nobody knows
    record = record_of(here)
    assert record["config"]["data"] == "folder:birds"
    assert record["config"]["model"]["name"] == "mlp"  # images this small need no more
    assert (
        record["config"]["recipe"] | {"epochs": 1, "crop_padding": 0, "flip": False}
        == record["config"]["recipe"]
    )
    assert (record["data"]["train_size"], record["data"]["test_size"]) == (16, 4)


def test_images_are_scaled_and_a_resnet_takes_them(cli: Run, here: Path, birds: Path) -> None:
    ran = cli(
        "train", "--data", f"folder:{birds}@20", "--loss", "ce", "--epochs", "1", "--width", "2",
        "--noise", "symmetric:0.5",
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    config = record_of(here)["config"]
    assert (config["data"], config["model"]["name"]) == ("folder:birds@20", "resnet18")


def test_a_single_image_at_an_epochs_end_is_refused_with_the_setting_that_helps(cli: Run, here: Path) -> None:
    np.savez(here / "odd.npz", x=np.random.default_rng(0).random((41, 4, 4)), y=np.arange(41) % 2)
    train = ("train", "--data", "npz:odd.npz", "--model", "cnn4", "--loss", "ce", "--epochs", "1", "--set")
    refused = cli(*train, "recipe.batch_size=16")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "an epoch of 33 images in batches of 16 ends in a single one" in refused.stderr
    assert "recipe.batch_size = 15 leaves none" in refused.stderr
    assert not list(here.glob("out/**/*.json"))
    ran = cli(*train, "recipe.batch_size=15")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert record_of(here)["config"]["recipe"]["batch_size"] == 15


def test_a_setting_adds_to_the_options(cli: Run, here: Path) -> None:
    ran = cli(
        "train", "--loss", "mae", "--model", "resnet18", "--epochs", "1", "--set", "model.width=1",
        "--set", "title=mine", "--set", "recipe.batch_size=1000", "--set", "recipe.crop_padding=0",
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    config = record_of(here)["config"]
    assert (config["model"]["name"], config["model"]["width"], config["loss"]) == ("resnet18", 1, "mae")
    (plan,) = here.glob("out/train/*/study.json")
    assert json.loads(plan.read_text())["title"] == "mine"


@pytest.mark.usefixtures("birds")
@pytest.mark.parametrize(
    "command", [("train", "--loss", "mae"), ("tune", "--loss", "a*mae", "--trials", "1")]
)
def test_given_labels_that_go_unused_are_spoken_of(cli: Run, command: tuple[str, ...]) -> None:
    unused = "warning: npz:birds.npz has given labels, which noise 'none' does not use; noise 'given' does\n"
    run = (*command, "--data", "npz:birds.npz", "--set", "recipe.epochs=1", "--noise")
    for noise, said in (("none", unused), ("given", "")):
        ran = cli(*run, noise)
        assert (ran.returncode, ran.stderr) == (0, said)


@pytest.mark.usefixtures("birds")
def test_an_archive_is_audited(cli: Run) -> None:
    ran = cli("audit", "symmetric:0.5", "--data", "npz:birds.npz")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "requested 50.00 %, achieved 50.00 % of 16" in ran.stdout
    ran = cli("audit", "given", "--data", "npz:birds.npz")
    assert "wrong labels: achieved " in ran.stdout


@pytest.mark.usefixtures("birds")
@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("--data", "folder:nowhere"), "data folder 'nowhere' does not exist"),
        (("--data", "npz:nowhere.npz"), "data file 'nowhere.npz' does not exist"),
        (("--data", "foldr:private/birds"), "did you mean 'folder:PATH'?"),
        (("--data", "arrays:birds"), "pass it as dataset="),
        (("--data", "npz:birds.npz", "--data-dir", "."), "takes no --data-dir"),
        (("--data", "npz:birds.npz", "--noise", "asymmetric:0.4"), "nothing says so here"),
        (("--data", "npz:birds.npz", "--noise", "human:worst"), "has no labels that people gave"),
        (("--data", "npz:nowhere.npz", "--noise", "pair:0.4"), "did you mean 'pairflip'?"),
        (("--data", "mnist", "--data-dir", "."), "holds no train-images-idx3-ubyte"),
    ],
)
def test_what_does_not_fit_is_one_line(cli: Run, here: Path, arguments: tuple[str, ...], fault: str) -> None:
    ran = cli("train", "--loss", "ce", "--epochs", "1", *arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("error: ")
    assert len(ran.stderr.splitlines()) == 1
    assert fault in ran.stderr
    assert not (here / "out").exists()
