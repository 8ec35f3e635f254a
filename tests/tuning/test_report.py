"""What a search has found, as files: a pure function of its trials, and honest about the score."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from noiseproof import losses
from noiseproof.errors import NoiseproofError
from noiseproof.study import Study
from noiseproof.tuning import Findings, Search, find, tune, write_report
from noiseproof.tuning.figures import MOST_PAIRS, figures
from noiseproof.tuning.folder import Folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def out(search: Search, tmp_path: Path) -> Path:
    """A folder with four trials."""
    tune(search, tmp_path, trials=4)
    return tmp_path


@pytest.fixture
def plain_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty pictures take less time to save."""
    monkeypatch.setattr("noiseproof.tuning.report.figures", lambda *_: [("history", Figure(figsize=(1, 1)))])


def test_a_report_is_made_again_from_the_trials_alone(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noiseproof.tuning.report.FORMATS", ("svg",))  # the other would take as long again
    findings = write_report(out)
    first = contents(out / "report")
    names = ("history", "slices", "importances", "pairs")
    assert set(first) == {"tune.md", "trials.csv", *(f"{name}.svg" for name in names)}
    for name in names:
        assert f"![{name}]({name}.png)" in first["tune.md"].decode()
    for path in (out / "report").iterdir():
        path.unlink()
    assert write_report(out) == findings
    assert contents(out / "report") == first


@pytest.mark.usefixtures("plain_figures")
def test_the_files_say_what_the_trials_say(out: Path, search: Search) -> None:
    findings = write_report(out)
    trials = Folder(out).finished()
    rows = list(csv.DictReader((out / "report" / "trials.csv").read_text().splitlines()))
    assert [int(row["trial"]) for row in rows] == list(trials)
    for row, trial in zip(rows, trials.values(), strict=True):
        assert (float(row["score"]), row["status"], row["loss"]) == (trial.score, "finished", trial.loss)
        assert {name: float(row[name]) for name in ("alpha", "q")} == trial.values
        assert str(losses.parse(row["loss"])) == trial.loss
    best = max(trials.values(), key=lambda trial: (trial.score, -trial.number))
    assert findings.best == best
    assert findings.defaults == trials[0]
    page = (out / "report" / "tune.md").read_text()
    assert page.startswith("# alpha*nce + gce(q=q) on tiny under symmetric:0.4 noise\n")
    compared = f"{100 * best.score:.2f} %; at the defaults {100 * trials[0].score:.2f} %"
    assert f"The best of 4 trials, {compared}:\n\n    {best.loss}\n" in page
    scores = [trial.score for trial in findings.trials]
    assert scores == sorted(scores, reverse=True)
    for place in ("- alpha: 0.01:100:log", "- seeds: 0", f"fingerprint {best.run.data.fingerprint[:12]}"):
        assert place in page


def test_chance_is_the_held_out_labels(out: Path) -> None:
    findings = find(out)
    share = findings.best.score
    assert findings.standard_error == pytest.approx(math.sqrt(share * (1 - share) / 12))
    assert "the 12 held-out noisy labels that the network predicts" in findings.notes[0]
    assert f"give or take {100 * findings.standard_error:.1f} points by chance" in findings.notes[0]


@pytest.mark.parametrize(
    ("noise", "ranks"),
    [
        ("none", True),
        ("symmetric:0.6", True),
        ("symmetric:0.67", False),  # above (K - 1) / K of three classes the ranking turns around
        ("asymmetric:0.1", False),
        ("pairflip:0.1", False),
        ("given", False),
    ],
)
def test_where_noisy_labels_may_mislead_the_report_says_so(
    out: Path, search: Search, noise: str, ranks: bool
) -> None:
    found = find(out)
    notes = Findings(out, search.model_copy(update={"noise": noise}), found.trials).notes
    assert any("need not rank losses as clean labels would" in note for note in notes) is not ranks


def test_the_defaults_are_shown_however_bad_they_are(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find(out)
    defaults = found.defaults
    assert defaults is not None
    better = [trial for trial in found.trials if trial is not defaults]
    assert found.shown == found.trials
    monkeypatch.setattr("noiseproof.tuning.report.SHOWN", 2)
    assert Findings(out, found.search, (*better, defaults)).shown == (*better[:2], defaults)
    assert Findings(out, found.search, (defaults, *better)).shown == (defaults, better[0])


def test_diverged_trials_are_counted(out: Path) -> None:
    found = find(out)
    run = found.best.run.model_copy(update={"status": "diverged"})
    trials = (found.best.model_copy(update={"run": run}), *found.trials[1:])
    assert Findings(out, found.search, trials).notes[-1].endswith("not finite): 1 trials.")


def test_figures_show_every_trial_on_the_scales_that_were_searched(out: Path, search: Search) -> None:
    trials = list(Folder(out).finished().values())
    drawn = dict(figures(search, trials))
    scores, best = (np.asarray(line.get_ydata()).tolist() for line in drawn["history"].axes[0].lines)
    assert scores == [100 * trial.score for trial in trials]
    assert best == [max(scores[: i + 1]) for i in range(len(scores))]
    for panel, name, scale in zip(drawn["slices"].axes, ("alpha", "q"), ("log", "linear"), strict=False):
        assert (panel.get_xlabel(), panel.get_xscale()) == (name, scale)
        points: Any = panel.collections[0].get_offsets()
        assert points[:, 0].tolist() == [trial.values[name] for trial in trials]


def test_one_name_has_no_pairs(study: Study, tmp_path: Path) -> None:
    alone = Search.of(study, "alpha*nce", batch=2)
    tune(alone, tmp_path, trials=2)
    assert [name for name, _ in figures(alone, list(Folder(tmp_path).finished().values()))] == [
        "history",
        "slices",
    ]


def test_pairs_are_drawn_of_the_names_that_matter_most_alone(study: Study, tmp_path: Path) -> None:
    wide = Search.of(study, "a*nce + b*mae + c*rce + d*gce(q=q)")  # five names make ten pairs
    tune(wide, tmp_path, trials=8)
    drawn = dict(figures(wide, list(Folder(tmp_path).finished().values())))
    assert len(drawn["pairs"].axes) == MOST_PAIRS + 1  # and the bar of colours


def test_a_folder_without_a_search_or_a_trial_is_an_error(out: Path, tmp_path: Path) -> None:
    with pytest.raises(NoiseproofError, match="holds no search"):
        find(tmp_path / "nowhere")
    for path in (out / "trials").iterdir():
        path.unlink()
    with pytest.raises(NoiseproofError, match="holds no finished trial"):
        write_report(out)


def test_what_was_found_can_be_run(out: Path, study: Study, put: Callable[..., Any]) -> None:
    best = find(out).best.loss
    assert Study.read(study.model_dump() | {"losses": [best]}, where="again").losses == (best,)
