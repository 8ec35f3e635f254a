"""The labels a run is trained on, and what its record says where the right ones are not known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from noiseproof import data, noise
from noiseproof.data import Dataset, load
from noiseproof.errors import NoiseproofError
from noiseproof.report import write_report
from noiseproof.study import Archive, Study, conduct, load_study
from noiseproof.study.labels import TrainingLabels, check_noises, training_labels

SEED = 1


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


def labels(text: str, dataset: Dataset) -> TrainingLabels:
    return training_labels(noise.parse(text), dataset, seed=SEED)


@pytest.mark.parametrize("text", ["symmetric:0.4", "asymmetric:0.3", "pairflip:0.2", "none"])
def test_noise_of_a_matrix_is_drawn_by_it(text: str, digits: Dataset) -> None:
    found = labels(text, digits)
    matrix = noise.parse(text).transition_matrix(10, digits.class_map)
    assert np.array_equal(found.given, noise.corrupt(digits.train_labels, matrix, seed=SEED))
    assert found.audit is not None
    assert np.array_equal(found.audit.requested, matrix)  # type: ignore[arg-type]


def test_noise_by_the_image_sees_what_the_network_sees(digits: Dataset) -> None:
    found = labels("instance:0.3", digits)
    features = (digits.train_images - digits.mean[0]) / digits.std[0]
    expected = noise.instance_dependent(
        features.astype(np.float32), digits.train_labels, num_classes=10, rate=0.3, seed=SEED
    )
    assert np.array_equal(found.given, expected)
    assert found.audit is not None
    assert found.audit.requested is None
    assert found.audit.achieved_rate == pytest.approx(0.3, abs=0.04)


def test_given_labels_beside_the_clean_ones_are_audited(digits: Dataset) -> None:
    given = np.roll(digits.train_labels, 1)
    found = labels("given", dataclasses.replace(digits, given_labels=given))
    assert np.array_equal(found.given, given)
    assert found.audit is not None
    assert found.audit.achieved_rate == pytest.approx(float(np.mean(given != digits.train_labels)))


@pytest.mark.parametrize("are_clean", [True, False])
def test_labels_taken_as_they_are_have_nothing_beside_them(digits: Dataset, are_clean: bool) -> None:
    found = labels("given", dataclasses.replace(digits, labels_are_clean=are_clean))
    assert np.array_equal(found.given, digits.train_labels)
    assert found.audit is None


@pytest.mark.parametrize("text", ["symmetric:0.4", "instance:0.3", "human:worst", "none"])
def test_nothing_is_made_of_labels_that_may_be_wrong(text: str, digits: Dataset) -> None:
    with pytest.raises(
        NoiseproofError, match=f"^{text} noise is made from clean labels, which digits does not"
    ):
        labels(text, dataclasses.replace(digits, labels_are_clean=False))


def test_noise_that_the_data_cannot_have_is_refused_before_anything_is_written(
    digits: Dataset, tmp_path: Path
) -> None:
    study = load_study("smoke", {"noises": ["given", "none"]})
    unclean = dataclasses.replace(digits, labels_are_clean=False)
    with pytest.raises(NoiseproofError, match=r"^none noise is made from clean labels"):
        conduct(study, tmp_path / "out", device="cpu", dataset=unclean)
    assert not (tmp_path / "out").exists()


def test_given_labels_that_no_noise_uses_are_warned_of(digits: Dataset) -> None:
    both = dataclasses.replace(digits, given_labels=digits.train_labels)
    with pytest.warns(UserWarning, match="^digits has given labels, which noise 'none' does not use"):
        check_noises([noise.parse("none"), noise.parse("symmetric:0.4")], both, seed=0)
    for texts in (["none", "given"], ["symmetric:0.4"]):
        check_noises([noise.parse(text) for text in texts], both, seed=0)
    check_noises([noise.parse("none")], digits, seed=0)


@pytest.fixture
def as_given(tmp_path: Path) -> tuple[Study, Path]:
    study = load_study(
        "smoke", {"losses": ["ce", "nce+mae"], "noises": ["given", "instance:0.4"], "recipe.epochs": 2}
    )
    assert conduct(study, str(tmp_path), device="cpu").ended == "finished"
    return study, tmp_path


def test_a_report_leaves_out_what_needs_the_clean_labels_and_says_so(as_given: tuple[Study, Path]) -> None:
    _, out = as_given
    records = Archive(out).finished()
    unknown, known = records["ce_given_seed-0"], records["ce_instance-0.4_seed-0"]
    assert unknown.noise.model_dump() == {"requested_rate": None, "achieved_rate": None, "counts": None}
    for name in ("clean", "right", "recovered", "memorized"):
        assert getattr(unknown.history, name) == (None, None), name
        assert None not in getattr(known.history, name), name
    assert None not in unknown.history.given
    assert unknown.test_accuracy is not None
    assert known.noise.requested_rate == 0.4
    assert known.noise.achieved_rate == pytest.approx(0.4, abs=0.05)

    written = write_report(str(out))
    sentence = "The clean labels are not known"
    assert [table.name for table in written.tables] == ["table_given", "table_instance"]
    assert [sentence in " ".join(table.notes) for table in written.tables] == [True, False]
    assert sentence in (written.folder / "table_given.md").read_text()
    assert written.claims == ()
    assert (
        "The study's claims are about symmetric and asymmetric" in (written.folder / "report.md").read_text()
    )
    assert "claims are about symmetric and asymmetric" in written.page.read_text()
    names = {path.stem for path in written.folder.glob("*.png")}
    assert names == {"figure_given", "figure_instance", "memorization_instance"}
    assert (written.folder / "table_given.csv").read_text().startswith("loss,given,given_std\n")


def test_human_labels_are_read_from_the_folder_of_the_data(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str, Path | None]] = []

    def load_human_labels(dataset: Dataset, variant: str, data_dir: Path | None) -> np.ndarray:
        asked.append((dataset.name, variant, data_dir))
        return np.roll(dataset.train_labels, 1)

    monkeypatch.setattr(data, "load_human_labels", load_human_labels)
    found = training_labels(noise.parse("human:worst"), digits, seed=SEED, data_dir=tmp_path)
    assert asked == [("digits", "worst", tmp_path)]
    assert found.audit is not None
    assert found.audit.counts.sum() == len(digits.train_labels)
