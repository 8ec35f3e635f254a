"""Claims: each is asked of the study's own tables, of results that bear it out, and of some that do not."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import resources

import numpy as np
import numpy.typing as npt
import pytest

from noiseproof.noise import Noise
from noiseproof.report import CLAIMS, Cell, Claim, Results, published

Values = npt.NDArray[np.float64]

RATES = {"symmetric": (0.2, 0.4, 0.6, 0.8), "asymmetric": (0.1, 0.2, 0.3, 0.4)}

# the first words of each claim
OVERFIT = "CE and FL overfit"
HALF_WAY = "CE and FL begin to overfit"
GROWS = "The more symmetric noise"
NO_OVERFIT = "NCE and NFL do not overfit"
UNDERFIT = "NCE and NFL underfit under symmetric"
UNDERFIT_TOO = "NCE and NFL underfit under asymmetric"
CONVERGE = "All four APL losses converge to high"
RCE_LOSE = "As symmetric noise grows, the RCE pairs"
BEAT_CE = "The MAE pairs beat CE"
SIMILAR = "All four APL losses converge to similar"
RCE_FALL = "At asymmetric 0.4 the RCE pairs"
MAE_TOP = "The MAE pairs are the top two"
CE_TOP = "CE and FL are the top two"
MAE_LOSE_LEAST = "As asymmetric noise grows, the MAE pairs"
OVERTAKE = "Trained longer, the MAE pairs"

ALL = (
    OVERFIT, HALF_WAY, GROWS, NO_OVERFIT, UNDERFIT, UNDERFIT_TOO, CONVERGE, RCE_LOSE, BEAT_CE, SIMILAR,
    RCE_FALL, MAE_TOP, CE_TOP, MAE_LOSE_LEAST, OVERTAKE,
)  # fmt: skip


def claim(words: str) -> Claim:
    (found,) = (claim for claim in CLAIMS if claim.statement.startswith(words))
    return found


def test_these_are_all_the_claims() -> None:
    assert len(CLAIMS) == len(ALL)
    assert [claim(words) for words in ALL] == CLAIMS  # in the order in which the study makes them
    assert [claim.section for claim in CLAIMS] == ["3.1"] * 6 + ["3.2"] * 5 + ["Table 1"] + ["Table 2"] * 3


# ----------------------------------------------------------------------------- the study's own tables


@pytest.fixture
def tables() -> dict[str, dict[str, Values]]:
    """The study's tables straight from the files: accuracies by rate, by kind of noise and loss."""
    read = {}
    for kind in ("symmetric", "asymmetric"):
        text = (resources.files("noiseproof.report") / "published" / "study" / f"{kind}.csv").read_text()
        _, *rows = csv.reader(text.splitlines())
        read[kind] = {loss: np.array(values, dtype=float) for loss, *values in rows}
    return read


def verdicts(tables: Mapping[str, Mapping[str, Values]]) -> dict[str, bool]:
    """What the tables say of each claim that they can answer, worked out again."""
    s, a = tables["symmetric"], tables["asymmetric"]
    pairs = ["NFL+MAE", "NCE+MAE", "NFL+RCE", "NCE+RCE"]

    def top_two(table: Mapping[str, Values]) -> list[set[str]]:
        names, values = list(table), np.array(list(table.values()))
        return [{names[i] for i in np.argsort(column)[-2:]} for column in values.T]

    def lost(table: Mapping[str, Values]) -> dict[str, float]:
        return {loss: values[0] - values[-1] for loss, values in table.items()}

    s_lost, a_lost = lost(s), lost(a)
    apl = np.array([a[loss] for loss in pairs])
    drop = {loss: a[loss][2] - a[loss][3] for loss in pairs}
    return {
        UNDERFIT: bool((s["NCE"] < s["CE"]).all() and (s["NFL"] < s["FL"]).all()),
        UNDERFIT_TOO: bool((a["NCE"] < a["CE"]).all() and (a["NFL"] < a["FL"]).all()),
        CONVERGE: all(s[loss][0] >= max(50, max(v[0] for v in s.values()) - 5) for loss in pairs),
        RCE_LOSE: all(s_lost[r] > s_lost[m] for r in pairs[2:] for m in pairs[:2]),
        BEAT_CE: all((s[m] > s[loss]).all() for m in pairs[:2] for loss in ("CE", "NCE")),
        SIMILAR: bool((np.ptp(apl[:, :3], axis=0) <= 5).all()),
        RCE_FALL: all(a[r][3] < a[m][3] and drop[r] > drop[m] for r in pairs[2:] for m in pairs[:2]),
        MAE_TOP: top_two(s) == [set(pairs[:2])] * 4,
        CE_TOP: top_two(a) == [{"CE", "FL"}] * 4,
        MAE_LOSE_LEAST: all(a_lost[m] < a_lost[c] for m in pairs[:2] for c in ("CE", "FL")),
    }


def test_the_studys_tables_are_judged_as_they_say(tables: dict[str, dict[str, Values]]) -> None:
    expected = verdicts(tables)
    for words in ALL:
        answer = "not enough data" if words not in expected else "holds" if expected[words] else "fails"
        assert claim(words).judge(published()).answer == answer, words


def test_two_claims_are_not_borne_out_by_the_studys_own_numbers(tables: dict[str, dict[str, Values]]) -> None:
    assert {words for words, holds in verdicts(tables).items() if not holds} == {SIMILAR, MAE_LOSE_LEAST}


def test_the_evidence_is_the_numbers(tables: dict[str, dict[str, Values]]) -> None:
    for words, kind in ((UNDERFIT, "symmetric"), (UNDERFIT_TOO, "asymmetric")):
        evidence = claim(words).judge(published()).evidence
        for loss in ("CE", "NCE", "FL", "NFL"):
            assert f"{loss} " + ", ".join(f"{v:.2f}" for v in tables[kind][loss]) in evidence
    assert "0.3: 5.32" in claim(SIMILAR).judge(published()).evidence
    lost = claim(MAE_LOSE_LEAST).judge(published()).evidence
    assert "FL 7.07, NFL 7.31, NCE+MAE 7.31, CE 7.53, NFL+MAE 8.50" in lost  # ranked


def test_without_curves_the_claims_about_curves_have_not_enough_data() -> None:
    for words in (OVERFIT, HALF_WAY, GROWS, NO_OVERFIT):
        verdict = claim(words).judge(published())
        assert verdict.answer == "not enough data"
        assert verdict.evidence.startswith("missing: accuracy by epoch of ")


# ----------------------------------------------------------------------------------- results by hand

SYMMETRIC = {
    "CE": (80, 70, 60, 40), "FL": (79, 69, 59, 39), "NCE": (50, 45, 40, 30), "NFL": (49, 44, 39, 29),
    "NFL+MAE": (85, 82, 75, 55), "NFL+RCE": (82, 72, 55, 30), "NCE+MAE": (84, 81, 74, 54),
    "NCE+RCE": (81, 71, 54, 29),
}  # fmt: skip
ASYMMETRIC = {
    "CE": (89, 87, 84, 80), "FL": (88.5, 86.5, 83.5, 79.5), "NCE": (55, 54, 52, 50), "NFL": (54, 53, 51, 49),
    "NFL+MAE": (86, 85.5, 83, 79), "NFL+RCE": (84, 82, 80, 62), "NCE+MAE": (85.5, 85, 82.5, 78.5),
    "NCE+RCE": (83.5, 81.5, 79.5, 61),
}  # fmt: skip
FALLS = (5, 10, 15, 20)
EPOCHS = 60


def risen(final: float, *, epochs: int = EPOCHS) -> tuple[float, ...]:
    """A curve that rises to its end."""
    return tuple(np.linspace(final / 2, final, epochs).tolist())


def fallen(final: float, fall: float, *, at: float = 0.5, epochs: int = EPOCHS) -> tuple[float, ...]:
    """A curve that peaks, for a while, around ``at`` of its epochs and ends ``fall`` below."""
    peak = round(at * epochs)
    there, top = [0, peak - 4, peak + 4, epochs - 6, epochs], final + fall
    shape = np.interp(np.arange(epochs), there, [top / 2, top, top, final, final])
    shape[peak] += 1e-6
    return tuple(shape.tolist())


Edit = Callable[[Results], Results]


def with_cell(loss: str, kind: str, rate: float, cell: Cell | None) -> Edit:
    """Put a cell in place of another, or take it out."""

    def edit(results: Results) -> Results:
        cells = {key: value for key, value in results.cells.items() if key != (loss, Noise(kind, rate))}
        if cell is not None:
            cells[loss, Noise(kind, rate)] = cell
        return replace(results, cells=cells)

    return edit


def final(loss: str, kind: str, rate: float, accuracy: float) -> Edit:
    return with_cell(loss, kind, rate, Cell((accuracy,), (risen(accuracy),)))


def curve(loss: str, rate: float, values: tuple[float, ...]) -> Edit:
    return with_cell(loss, "symmetric", rate, Cell((values[-1],), (values,)))


def missing(loss: str, kind: str, rate: float) -> Edit:
    return with_cell(loss, kind, rate, None)


def row(loss: str, kind: str, *accuracies: float) -> Edit:
    def edit(results: Results) -> Results:
        for rate, accuracy in zip(RATES[kind], accuracies, strict=True):
            results = final(loss, kind, rate, accuracy)(results)
        return results

    return edit


def every(*edits: Edit) -> Edit:
    def edit(results: Results) -> Results:
        for one in edits:
            results = one(results)
        return results

    return edit


def trained(epochs: int, data: str = "cifar10") -> Edit:
    return lambda results: replace(results, epochs=epochs, data=data)


def only_rates(kind: str, *rates: float) -> Edit:
    return lambda results: replace(
        results,
        noises=tuple(noise for noise in results.noises if noise.kind != kind or noise.rate in rates),
    )


@pytest.fixture
def good() -> Results:
    """Results that bear out every claim but the last, which contradicts an earlier one."""
    cells = {}
    for kind, table in (("symmetric", SYMMETRIC), ("asymmetric", ASYMMETRIC)):
        for loss, accuracies in table.items():
            for i, (rate, accuracy) in enumerate(zip(RATES[kind], accuracies, strict=True)):
                overfits = loss in ("CE", "FL") and kind == "symmetric"
                shape = fallen(accuracy, FALLS[i]) if overfits else risen(accuracy)
                cells[loss, Noise(kind, rate)] = Cell((float(accuracy),), (shape,))
    return Results(
        data="digits",
        epochs=EPOCHS,
        losses=tuple(SYMMETRIC),
        noises=tuple(Noise(kind, rate) for kind, rates in RATES.items() for rate in rates),
        runs_per_cell=1,
        cells=cells,
    )


@pytest.mark.parametrize("words", [words for words in ALL if words != OVERTAKE])
def test_a_claim_holds_where_the_results_bear_it_out(good: Results, words: str) -> None:
    verdict = claim(words).judge(good)
    assert verdict.answer == "holds", verdict.evidence


OVERTAKEN = every(
    trained(100),
    *(row(loss, "asymmetric", 89.5, 87.5, 84.5, 80.5) for loss in ("NFL+MAE", "NCE+MAE")),
)

HOLDS: list[tuple[str, Edit]] = [
    (OVERTAKE, OVERTAKEN),
    (OVERTAKE, every(OVERTAKEN, trained(51))),
    # just so
    (OVERFIT, curve("CE", 0.2, fallen(80, 1.0))),
    (NO_OVERFIT, curve("NCE", 0.2, fallen(50, 0.9))),
    (CONVERGE, final("NCE+RCE", "symmetric", 0.2, 80)),
    (CONVERGE, final("CE", "symmetric", 0.2, 86)),
    (SIMILAR, every(final("NCE+RCE", "asymmetric", 0.3, 78), final("NFL+RCE", "asymmetric", 0.3, 78))),
    (SIMILAR, final("NCE+RCE", "asymmetric", 0.4, 10)),  # 0.4 is another claim's
    (HALF_WAY, curve("FL", 0.8, fallen(39, 20, at=0.4))),
    (HALF_WAY, curve("FL", 0.8, fallen(39, 20, at=0.6))),
    # a tie for the second place
    (MAE_TOP, final("CE", "symmetric", 0.2, 84)),
    (CE_TOP, final("NCE+MAE", "asymmetric", 0.4, 79.5)),
    # one lucky epoch is no peak
    (NO_OVERFIT, curve("NFL", 0.4, (*risen(44)[:20], 47.0, *risen(44)[21:]))),
    # high is half of the test samples, if nothing is better
    (CONVERGE, every(*(final(loss, "symmetric", 0.2, 50) for loss in SYMMETRIC))),
    # other losses may do as they like
    (BEAT_CE, row("FL", "symmetric", 99, 99, 99, 99)),
    (BEAT_CE, row("NFL", "symmetric", 99, 99, 99, 99)),
    (UNDERFIT, row("NFL+MAE", "symmetric", 1, 1, 1, 1)),
    # two rates are enough
    (GROWS, only_rates("symmetric", 0.2, 0.8)),
    (MAE_LOSE_LEAST, only_rates("asymmetric", 0.1, 0.4)),
]

FAILS: list[tuple[str, Edit]] = [
    (OVERFIT, curve("CE", 0.2, risen(80))),
    (OVERFIT, curve("FL", 0.8, fallen(39, 0.9))),
    (HALF_WAY, curve("CE", 0.4, fallen(70, 10, at=0.15))),
    (HALF_WAY, curve("FL", 0.6, fallen(59, 15, at=0.85))),
    (HALF_WAY, curve("FL", 0.6, risen(59))),
    (GROWS, curve("CE", 0.4, fallen(70, 5))),  # no more than at 0.2
    (GROWS, curve("FL", 0.8, fallen(39, 14))),
    (NO_OVERFIT, curve("NCE", 0.8, fallen(30, 1.1))),
    (NO_OVERFIT, curve("NFL", 0.2, fallen(49, 3, at=0.2))),
    (UNDERFIT, final("NCE", "symmetric", 0.8, 40)),  # a tie is not lower
    (UNDERFIT, final("NFL", "symmetric", 0.2, 79.5)),
    (UNDERFIT_TOO, final("NCE", "asymmetric", 0.1, 90)),
    (UNDERFIT_TOO, final("NFL", "asymmetric", 0.4, 79.5)),
    (CONVERGE, final("NCE+RCE", "symmetric", 0.2, 79.9)),
    (CONVERGE, final("CE", "symmetric", 0.2, 86.1)),  # which is then the best
    (CONVERGE, every(*(final(loss, "symmetric", 0.2, 49.9) for loss in SYMMETRIC))),  # all are as bad
    (RCE_LOSE, final("NFL+RCE", "symmetric", 0.8, 52)),  # loses 30, as a MAE pair does
    (RCE_LOSE, row("NCE+MAE", "symmetric", 84, 81, 74, 20)),
    (BEAT_CE, final("CE", "symmetric", 0.6, 74)),
    (BEAT_CE, final("NCE", "symmetric", 0.8, 54.5)),
    (BEAT_CE, final("NFL+MAE", "symmetric", 0.2, 79)),
    (SIMILAR, final("NCE+RCE", "asymmetric", 0.3, 77.9)),
    (SIMILAR, final("NFL+MAE", "asymmetric", 0.1, 89)),
    (RCE_FALL, final("NCE+RCE", "asymmetric", 0.4, 78.5)),
    (RCE_FALL, every(final("NFL+RCE", "asymmetric", 0.3, 64), final("NCE+RCE", "asymmetric", 0.3, 64))),
    (MAE_TOP, final("CE", "symmetric", 0.2, 84.1)),
    (MAE_TOP, final("NFL+RCE", "symmetric", 0.8, 60)),
    (CE_TOP, final("NFL+MAE", "asymmetric", 0.4, 79.6)),
    (CE_TOP, final("NCE", "asymmetric", 0.1, 99)),
    (MAE_LOSE_LEAST, final("NCE+MAE", "asymmetric", 0.4, 76.5)),  # loses 9, as CE does
    (MAE_LOSE_LEAST, final("FL", "asymmetric", 0.4, 82)),
    (OVERTAKE, trained(100)),
    (OVERTAKE, every(OVERTAKEN, final("CE", "asymmetric", 0.2, 87.5))),
]


@pytest.mark.parametrize(("words", "edit"), HOLDS, ids=range(len(HOLDS)))
def test_a_claim_holds_at_its_limit(good: Results, words: str, edit: Edit) -> None:
    verdict = claim(words).judge(edit(good))
    assert verdict.answer == "holds", verdict.evidence


@pytest.mark.parametrize(("words", "edit"), FAILS, ids=range(len(FAILS)))
def test_a_claim_fails_where_the_results_speak_against_it(good: Results, words: str, edit: Edit) -> None:
    verdict = claim(words).judge(edit(good))
    assert verdict.answer == "fails", verdict.evidence


def test_every_claim_can_hold_and_can_fail() -> None:
    assert {words for words, _ in FAILS} == set(ALL)
    assert {words for words, _ in HOLDS} | set(ALL) - {OVERTAKE} == set(ALL)


PAIRS = ("NFL+MAE", "NCE+MAE", "NFL+RCE", "NCE+RCE")

NEEDS = {
    OVERFIT: ("symmetric", ("CE", "FL"), RATES["symmetric"]),
    HALF_WAY: ("symmetric", ("CE", "FL"), RATES["symmetric"]),
    GROWS: ("symmetric", ("CE", "FL"), RATES["symmetric"]),
    NO_OVERFIT: ("symmetric", ("NCE", "NFL"), RATES["symmetric"]),
    UNDERFIT: ("symmetric", ("CE", "FL", "NCE", "NFL"), RATES["symmetric"]),
    UNDERFIT_TOO: ("asymmetric", ("CE", "FL", "NCE", "NFL"), RATES["asymmetric"]),
    CONVERGE: ("symmetric", tuple(SYMMETRIC), (0.2,)),  # any may be the best
    RCE_LOSE: ("symmetric", PAIRS, (0.2, 0.8)),
    BEAT_CE: ("symmetric", ("NFL+MAE", "NCE+MAE", "CE", "NCE"), RATES["symmetric"]),
    SIMILAR: ("asymmetric", PAIRS, (0.1, 0.2, 0.3)),
    RCE_FALL: ("asymmetric", PAIRS, (0.3, 0.4)),
    MAE_TOP: ("symmetric", tuple(SYMMETRIC), RATES["symmetric"]),
    CE_TOP: ("asymmetric", tuple(ASYMMETRIC), RATES["asymmetric"]),
    MAE_LOSE_LEAST: ("asymmetric", ("NFL+MAE", "NCE+MAE", "CE", "FL"), (0.1, 0.4)),
    OVERTAKE: ("asymmetric", ("NFL+MAE", "NCE+MAE", "CE", "FL"), RATES["asymmetric"]),
}
"""The cells that a claim is about: of which noise, losses and rates."""


@pytest.mark.parametrize("words", ALL)
def test_a_claim_says_which_of_its_cells_is_missing_and_does_without_any_other(
    good: Results, words: str
) -> None:
    results = OVERTAKEN(good) if words == OVERTAKE else good
    for loss, noise in results.cells:
        kind, losses, rates = NEEDS[words]
        verdict = claim(words).judge(missing(loss, noise.kind, noise.rate)(results))
        if noise.kind == kind and loss in losses and noise.rate in rates:
            assert (verdict.answer, verdict.evidence) == (
                "not enough data",
                f"missing: {loss} under {noise}",
            )
        else:
            assert verdict.answer == "holds"


@pytest.mark.parametrize("words", ALL)
@pytest.mark.parametrize(
    "cell",
    [
        Cell(),
        Cell(accuracies=(50.0,)),
        Cell((50.0,), curves=((),)),
        Cell((50.0,), curves=((40.0, 50.0),)),
        Cell((50.0, 60.0), curves=(risen(50), risen(60, epochs=9))),
    ],
    ids=["nothing", "no curve", "an empty curve", "two epochs", "runs of unlike length"],
)
def test_an_odd_cell_is_not_enough_data_at_worst(good: Results, words: str, cell: Cell) -> None:
    results = OVERTAKEN(good) if words == OVERTAKE else good
    for loss, noise in results.cells:
        verdict = claim(words).judge(with_cell(loss, noise.kind, noise.rate, cell)(results))
        if cell == Cell():
            assert verdict == claim(words).judge(missing(loss, noise.kind, noise.rate)(results))
        elif words in (OVERFIT, HALF_WAY, GROWS, NO_OVERFIT):
            needed = noise.kind == "symmetric" and loss in NEEDS[words][1]
            assert verdict.answer == ("not enough data" if needed else "holds")
        else:
            assert verdict.evidence


@pytest.mark.parametrize("words", ALL)
@pytest.mark.parametrize("accuracy", [0.0, 100.0])
def test_a_loss_that_the_study_does_not_have_changes_nothing(
    good: Results, words: str, accuracy: float
) -> None:
    results = OVERTAKEN(good) if words == OVERTAKE else good
    added = every(row("GCE", "symmetric", *[accuracy] * 4), row("GCE", "asymmetric", *[accuracy] * 4))
    with_another = added(replace(results, losses=("GCE", *results.losses)))
    assert claim(words).judge(with_another) == claim(words).judge(results)


@pytest.mark.parametrize("words", ALL)
def test_a_rate_out_of_the_studys_range_changes_nothing(good: Results, words: str) -> None:
    results = OVERTAKEN(good) if words == OVERTAKE else good
    beyond = [Noise("symmetric", 0.9), Noise("asymmetric", 0.5), Noise("symmetric", 0.1)]
    chance = [(loss, noise) for noise in beyond for loss in results.losses]
    with_others = replace(
        results,
        noises=(*beyond, *results.noises),
        cells=results.cells | {key: Cell((10.0,), (risen(10),)) for key in chance},
    )
    assert claim(words).judge(with_others) == claim(words).judge(results)


@pytest.mark.parametrize("words", ALL)
def test_a_claim_about_growing_noise_needs_two_rates(good: Results, words: str) -> None:
    one_rate = every(only_rates("symmetric", 0.2), only_rates("asymmetric", 0.1))
    results = one_rate(OVERTAKEN(good) if words == OVERTAKE else good)
    expected = {CONVERGE: "holds", RCE_FALL: "holds"}.get(words, "not enough data")
    assert claim(words).judge(results).answer == expected


@pytest.mark.parametrize("words", ALL)
def test_nothing_can_be_said_of_nothing(good: Results, words: str) -> None:
    empty = replace(OVERTAKEN(good), cells={})
    verdict = claim(words).judge(empty)
    assert (verdict.answer, verdict.evidence.startswith("missing: ")) == ("not enough data", True)
    assert claim(words).judge(replace(empty, losses=(), noises=())).answer == "not enough data"


@pytest.mark.parametrize("edit", [trained(50), trained(100, "digits")])
def test_overtaking_is_asked_of_longer_training_on_the_studys_data_alone(good: Results, edit: Edit) -> None:
    verdict = claim(OVERTAKE).judge(every(OVERTAKEN, edit)(good))
    assert verdict.answer == "not enough data"
    assert "CIFAR-10 of more than 50 epochs" in verdict.evidence


@pytest.mark.parametrize("words", [OVERFIT, HALF_WAY, GROWS, NO_OVERFIT])
def test_a_few_epochs_are_no_curve(good: Results, words: str) -> None:
    loss = "NCE" if words == NO_OVERFIT else "CE"
    verdict = claim(words).judge(curve(loss, 0.2, (1.0, 2.0, 3.0, 4.0))(good))
    assert verdict.answer == "not enough data"


def test_half_way_is_a_fraction_of_whatever_the_training_is(good: Results) -> None:
    edits = [
        curve(loss, rate, fallen(40, 10 + i, epochs=200))
        for loss in ("CE", "FL")
        for i, rate in enumerate(RATES["symmetric"])
    ]
    assert claim(HALF_WAY).judge(every(*edits)(good)).answer == "holds"


@pytest.mark.parametrize(("epoch", "answer"), [(14, "fails"), (15, "holds"), (35, "holds"), (36, "fails")])
def test_a_peak_is_where_the_middle_of_the_averaged_epochs_is(good: Results, epoch: int, answer: str) -> None:
    peaked = tuple(60.0 - abs(number - epoch) for number in range(1, 51))
    verdict = claim(HALF_WAY).judge(curve("CE", 0.2, peaked)(good))
    assert verdict.answer == answer  # from 0.3 to 0.7 of 50 epochs
    assert f"CE {epoch / 50:.2f}, " in verdict.evidence


def test_several_seeds_are_judged_by_their_mean(good: Results) -> None:
    tie = with_cell("CE", "symmetric", 0.2, Cell((90.0, 75.0), (fallen(90, 5), fallen(75, 5))))
    assert claim(BEAT_CE).judge(tie(good)).answer == "holds"  # 82.5 on average
    above = with_cell("CE", "symmetric", 0.2, Cell((90.0, 79.0), (fallen(90, 5), fallen(79, 5))))
    assert claim(BEAT_CE).judge(above(good)).answer == "fails"


@pytest.mark.parametrize(("words", "kind"), [(MAE_TOP, "symmetric"), (CE_TOP, "asymmetric")])
def test_the_last_bit_of_a_mean_keeps_nobody_from_the_top_two(good: Results, words: str, kind: str) -> None:
    # 300 of 360 right on average, both, though the floats differ in their last bit
    alike, spread = (100 * (300 / 360),) * 3, tuple(100 * (k / 360) for k in (299, 300, 301))
    first, second, other = ("NFL+MAE", "NCE+MAE", "CE") if kind == "symmetric" else ("CE", "FL", "NCE+MAE")
    rate = RATES[kind][0]
    tie = every(
        *(final(loss, kind, rate, 50) for loss in SYMMETRIC),
        final(first, kind, rate, 90),
        with_cell(second, kind, rate, Cell(spread)),
        with_cell(other, kind, rate, Cell(alike)),
    )
    assert claim(words).judge(tie(good)).answer == "holds"


def test_a_loss_that_no_claim_is_about_may_be_missing_where_it_cannot_matter(good: Results) -> None:
    partial = every(missing("NCE+RCE", "asymmetric", 0.1), missing("NCE", "asymmetric", 0.4))(good)
    assert claim(MAE_LOSE_LEAST).judge(partial).answer == "holds"
