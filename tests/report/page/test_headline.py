"""The headline: the figures of the results, and what each of them is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from noiseproof.noise import Noise, parse
from noiseproof.report import CLAIMS, Cell, Judged, Results, Verdict
from noiseproof.report.page.headline import Finding, findings, lead


def cell(accuracy: float, memorized: float | None = None) -> Cell:
    return Cell((accuracy,), ((accuracy,),), ((memorized,),) if memorized is not None else ((),))


def results(cells: dict[tuple[str, str], Cell]) -> Results:
    losses = tuple(dict.fromkeys(loss for loss, _ in cells))
    noises = tuple(dict.fromkeys(parse(setting) for _, setting in cells))
    return Results("digits", 7, losses, noises, 1, {(loss, parse(n)): c for (loss, n), c in cells.items()})


def test_the_lead_counts_in_words() -> None:
    one = results({("CE", "symmetric:0.2"): cell(50)})
    assert lead(one).startswith("1 loss on digits under 1 setting of label noise: 7 epochs, 1 seed each.")


def test_the_best_under_the_most_noise_of_each_kind_stands_beside_cross_entropy() -> None:
    made = results(
        {
            ("CE", "symmetric:0.2"): cell(90.0, 10.0),
            ("CE", "symmetric:0.8"): cell(44.07, 28.41),
            ("NCE+MAE", "symmetric:0.2"): cell(95.0, 5.0),
            ("NCE+MAE", "symmetric:0.8"): cell(75.28, 7.28),
            ("CE", "asymmetric:0.4"): cell(81.94, 20.0),
            ("NCE+MAE", "asymmetric:0.4"): cell(77.59, 30.0),
        }
    )
    assert findings(made, []) == (
        Finding("75.28 %", "accuracy of NCE+MAE, the best under symmetric:0.8; CE reaches 44.07 %"),
        Finding("81.94 %", "accuracy of CE, the best under asymmetric:0.4"),
        Finding("28.41 %", "of the wrong labels under symmetric:0.8 are memorized by CE, 7.28 % by NCE+MAE"),
        Finding("6 of 6", "runs are finished"),
    )


def test_cross_entropy_that_memorized_least_is_not_set_beside_itself() -> None:
    made = results({("CE", "given"): cell(80.0, 4.28), ("NCE+MAE", "given"): cell(20.0, 9.0)})
    assert findings(made, [])[1] == Finding(
        "4.28 %",
        "of the wrong labels with labels as they are given are memorized by CE, the fewest of all losses",
    )


def test_of_settings_without_a_rate_the_hardest_is_told_of() -> None:
    made = results(
        {
            ("MAE", "human:aggregate"): cell(60.0),
            ("MAE", "human:random1"): cell(40.0),
            ("MAE", "human:worst"): cell(50.0),
            ("MAE", "none"): cell(70.0),
            ("MAE", "given"): cell(65.0),
        }
    )
    assert [finding.meaning for finding in findings(made, [])] == [
        "accuracy of MAE, the best under human:random1",
        "accuracy of MAE, the best with labels as they are given",
        "runs are finished",
    ]
    clean = results({("MAE", "none"): cell(70.0)})
    assert findings(clean, [])[0].meaning == "accuracy of MAE, the best with clean labels"
    own = replace(clean, data="folder:photos@64")
    assert findings(own, [])[0].meaning == "accuracy of MAE, the best with labels as they are"


@pytest.mark.parametrize(
    ("answers", "expected"),
    [(["holds", "fails", "not enough data"], "1 of 2"), (["not enough data"] * 3, None)],
)
def test_claims_are_counted_where_they_could_be_asked(answers: list[str], expected: str | None) -> None:
    verdicts = [Verdict(answer, "") for answer in answers]  # type: ignore[arg-type]
    judged = [Judged(claim, ours, ours) for claim, ours in zip(CLAIMS, verdicts, strict=False)]
    made = findings(results({("CE", "symmetric:0.2"): cell(50)}), judged)
    assert [f.figure for f in made if "claims" in f.meaning] == ([expected] if expected else [])


def test_what_is_missing_is_counted() -> None:
    setting = Noise("symmetric", 0.2)
    made = Results("digits", 7, ("CE", "MAE"), (setting,), 3, {("CE", setting): cell(50)})
    assert findings(made, [])[-1] == Finding("1 of 6", "runs are finished")
    nothing = Results("digits", 7, ("CE",), (setting,), 1, {})
    assert findings(nothing, []) == (Finding("0 of 1", "runs are finished"),)


def test_three_kinds_of_noise_are_told_of_in_their_order() -> None:
    kinds = ("pairflip", "symmetric", "asymmetric", "instance")
    made = results({("MAE", f"{kind}:0.4"): cell(50) for kind in kinds})
    told = [finding.meaning for finding in findings(made, []) if "the best" in finding.meaning]
    assert told == [f"accuracy of MAE, the best under {kind}:0.4" for kind in kinds[:3]]
