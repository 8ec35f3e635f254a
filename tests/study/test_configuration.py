"""Runs: each has a name that any file system takes, and tells in what it differs from another."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import pytest

from noiseproof.study import RunConfiguration, Study, built_in_studies, load_study
from noiseproof.study.archive import Identity

LONGEST_FILE_NAME = 255


@pytest.mark.parametrize("name", built_in_studies())
def test_every_run_has_a_name_of_its_own(name: str) -> None:
    runs = load_study(name, {"seeds": [0, 1, 10, 11]}).runs()
    names = [run.id for run in runs]
    assert len(set(names)) == len(runs)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.+_-]*", name) for name in names)


ALIKE = (
    "nce+mae", "2*nce+mae", "nce+2*mae", "2*nce+2*mae", "0.2*nce+mae", "nce+0.2*mae",
    "normalized(ce)", "nce", "1e-5*nce", "normalized(ce+mae)", "normalized(ce)+mae", "2*normalized(ce+mae)",
    "normalized(2*ce+mae)", "fl", "fl(gamma=1)", "fl(gamma=10)", "fl(gamma=0.1)", "fl(gamma=1e-10)",
    "fl(gamma=1e20)", "rce(A=-1)", "rce(A=-10)", "rce(A=-0.1)", "ce+mae", "mae+ce", "ce+ce",
)  # fmt: skip


def test_losses_that_look_alike_have_different_names_safe_on_any_system() -> None:
    noises = ["symmetric:0.4", "symmetric:0.45", "symmetric:1", "symmetric:1e-5", "none", "pairflip:0.4"]
    runs = load_study("smoke", {"losses": ALIKE, "noises": noises}).runs()
    names = [run.id for run in runs]
    assert len({name.lower() for name in names}) == len(ALIKE) * len(noises)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.+_-]*", name) for name in names)


def test_a_name_tells_loss_noise_and_seed() -> None:
    study = load_study("smoke", {"losses": ["NCE + 2*rce(A=-9)"], "noises": ["none"], "seeds": [12]})
    assert [run.id for run in study.runs()] == ["nce+2-rce-a-9_none_seed-12"]


def test_the_longest_loss_still_has_a_name_that_a_file_can_have() -> None:
    loss = "+".join(f"0.{i:06d}*nfl(gamma=0.{i:06d})" for i in range(1, 34))
    (run,) = load_study("smoke", {"losses": [loss], "noises": ["symmetric:0.4"]}).runs()
    written_as = f".{run.id}.json.12345678.tmp"  # beside its place, then renamed
    assert len(written_as) <= LONGEST_FILE_NAME


def test_the_hash_is_of_every_setting(
    study: Study, changed: Callable[[Study, Mapping[str, object]], Study]
) -> None:
    changes: list[dict[str, object]] = [
        {},
        {"data": "digits"},
        {"model.hidden": [5]},
        {"recipe.weight_decay": 0.001},
        {"losses": ["mae"]},
        {"noises": ["none"]},
        {"seeds": [1]},
    ]
    hashes = [changed(study, change).runs()[0].hash for change in changes]
    assert len(set(hashes)) == len(changes)
    assert all(re.fullmatch("[0-9a-f]{8}", text) for text in hashes)
    assert changed(study, {"title": "another"}).runs()[0].hash == study.runs()[0].hash


@pytest.mark.parametrize(
    ("change", "differences"),
    [
        ({"losses": ["mae"], "noises": ["none"], "seeds": [7]}, []),
        ({"recipe.epochs": 4}, ["recipe.epochs = 4 against 3"]),
        ({"recipe.flip": False}, ["recipe.flip = False against True"]),
        ({"model.hidden": [5, 6]}, ["model.hidden = (5, 6) against (4,)"]),
        ({"data": "digits"}, ["data = 'digits' against 'tiny'"]),
        (
            {"model": {"name": "resnet18"}},
            [
                "model.name = 'resnet18' against 'mlp'",
                "model.hidden = None against (4,)",
                "model.width = 64 against None",
                "model.stem = 'cifar' against None",
            ],
        ),
        (
            {"recipe.epochs": 4, "recipe.momentum": 0.5},
            ["recipe.epochs = 4 against 3", "recipe.momentum = 0.5 against 0.9"],
        ),
    ],
)
def test_differences_name_the_setting_and_both_values(
    study: Study,
    changed: Callable[[Study, Mapping[str, object]], Study],
    change: dict[str, object],
    differences: list[str],
) -> None:
    ours, theirs = study.runs()[0], changed(study, change).runs()[0]
    assert ours.differences(theirs) == differences


def test_an_identity_reads_back_and_tells_data_apart(study: Study) -> None:
    config: RunConfiguration = study.runs()[-1]
    identity = Identity(config, "a" * 64)
    assert Identity.parse(str(identity), where="here") == identity
    assert identity.differences(identity) == []
    assert identity.differences(Identity(config, "b" * 64)) == [f"data {'b' * 12} against {'a' * 12}"]
