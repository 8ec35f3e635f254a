"""What is tried next: the defaults first, then what earlier ones suggest; chance from the seed alone."""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Sequence

import numpy as np
import optuna
import pytest
import torch

from noiseproof.errors import NoiseproofError
from noiseproof.study import Study
from noiseproof.study.provenance import provenance
from noiseproof.study.record import Best, DataFacts, NoiseFacts, Record
from noiseproof.training import History
from noiseproof.tuning import Search, Trial, to_optuna
from noiseproof.tuning.proposals import Values, importances, propose


def trials(search: Search, values: Sequence[Values], scores: Sequence[float]) -> list[Trial]:
    """Trials as if they had been trained."""
    epochs = search.recipe.epochs
    made = []
    for number, (tried, score) in enumerate(zip(values, scores, strict=True)):
        history = History(**dict.fromkeys(History.model_fields, (score,) * epochs))
        record = Record(
            status="finished",
            config=search.configuration(tried),
            test_accuracy=score,
            best=Best(epoch=1, test_accuracy=score),
            data=DataFacts(name="tiny", fingerprint="0", canonical=True, train_size=48, test_size=12),
            noise=NoiseFacts(),
            history=history,
            provenance=provenance(torch.device("cpu"), precision="float32", seconds=0.0),
        )
        made.append(Trial(number=number, values=tried, run=record))
    return made


@pytest.fixture
def before(search: Search) -> list[Trial]:
    """Twelve trials that are the better, the greater alpha is; q does not matter."""
    alphas = np.geomspace(0.01, 100, 12).round(4).tolist()
    return trials(search, [{"alpha": a, "q": 0.5} for a in alphas], np.linspace(0.1, 0.9, 12).tolist())


def test_the_first_trial_is_the_loss_at_its_defaults(search: Search) -> None:
    first = propose(search, [], 4)
    assert first[0] == search.defaults
    assert len({tuple(values.values()) for values in first}) == 4


def test_proposals_depend_on_search_seed_and_trials_alone(search: Search, before: list[Trial]) -> None:
    proposed = propose(search, before, 4)
    assert propose(search, before, 4) == proposed
    # what is proposed first does not depend on how many are asked for
    assert propose(search, before, 2) == proposed[:2]
    assert propose(search.model_copy(update={"seed": 1}), before, 4) != proposed
    assert propose(search, before[:8], 4) != proposed


def test_the_global_random_state_stays_as_it_is(search: Search, before: list[Trial]) -> None:
    def states() -> tuple[object, ...]:
        return random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().tolist()  # type: ignore[index]

    earlier = states()
    propose(search, before, 2)
    assert states() == earlier


def test_proposals_stay_in_their_ranges_and_are_short(study: Study) -> None:
    search = Search.of(study, "tce(t=t) + alpha*nce", ranges={"alpha": "0.123456:0.123987"})
    for values in propose(search, [], 12):
        assert list(values) == ["t", "alpha"]
        assert isinstance(values["t"], int)
        assert 1 <= values["t"] <= 20
        assert 0.123456 <= values["alpha"] <= 0.123987
        search.template.fill(values)
    # whole numbers can be given back to Optuna, which minds the type
    tried = propose(search, [], 3)
    assert len(to_optuna(search, trials(search, tried, [0.1, 0.2, 0.3])).trials) == 3


def test_higher_scores_attract(search: Search, before: list[Trial]) -> None:
    drawn = [values["alpha"] for values in propose(search, before, 12)]
    assert np.median(drawn) > 3  # the range's middle is 1


def test_optuna_is_given_the_trials(search: Search, before: list[Trial]) -> None:
    study = to_optuna(search, before)
    assert study.best_value == before[-1].score
    assert study.best_params == before[-1].values
    assert study.best_trial.user_attrs["loss"] == before[-1].loss


def test_importances_name_what_matters(search: Search, before: list[Trial], study: Study) -> None:
    values = [{"alpha": t.values["alpha"], "q": 0.1 + 0.07 * (5 * t.number % 12)} for t in before]
    shares = importances(search, trials(search, values, [t.score for t in before]))
    assert next(iter(shares)) == "alpha"
    assert sum(shares.values()) == pytest.approx(1)
    assert importances(search, trials(search, values, [0.5] * 12)) == {}
    assert importances(search, []) == {}
    alone = Search.of(study, "alpha*nce")
    assert importances(alone, trials(alone, [{"alpha": 1}, {"alpha": 2}], [0.1, 0.2])) == {}


def test_optuna_says_nothing_and_keeps_its_settings(
    search: Search, before: list[Trial], capfd: pytest.CaptureFixture[str]
) -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        propose(search, before, 1)
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    assert capfd.readouterr() == ("", "")


def test_without_optuna_the_error_says_what_to_install(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(NoiseproofError, match=r"^tuning needs Optuna: pip install 'noiseproof\[tune\]'$"):
        propose(search, [], 1)


def test_those_of_a_batch_keep_apart(search: Search, before: list[Trial]) -> None:
    for seed in range(3):
        of_seed = search.model_copy(update={"seed": seed})
        drawn = [values["alpha"] for values in propose(of_seed, before, 16)]
        assert np.std(np.log10(drawn)) > 0.5  # 0.2 if none knew of the others


def test_a_batch_repeats_nothing_of_the_one_before(search: Search) -> None:
    first = propose(search, [], 8)
    second = propose(search, trials(search, first, [0.5] * 8), 8)
    assert not any(values in first for values in second)
