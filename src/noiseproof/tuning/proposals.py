"""Which numbers to try next: Optuna's tree-structured Parzen estimator, from what was tried before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from noiseproof.errors import NoiseproofError
from noiseproof.tuning.ranges import Range
from noiseproof.tuning.search import Search
from noiseproof.tuning.trial import Trial

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import FloatDistribution, IntDistribution

Values = dict[str, float]


def require_optuna() -> None:
    """Raise `NoiseproofError` that says how to install Optuna if it is not there."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise NoiseproofError("tuning needs Optuna: pip install 'noiseproof[tune]'") from None


def propose(search: Search, before: Sequence[Trial], count: int) -> list[Values]:
    """Propose the numbers of the next ``count`` trials of a search.

    They depend on the search and on the trials ``before``, and on nothing else: a search that was stopped
    proposes what it would have proposed. The first trial of all is the loss at its defaults.
    """
    # a sampler's state can't be taken up again, so each batch has a sampler of its own
    seed = np.random.SeedSequence([search.seed, len(before)]).generate_state(1)[0]
    study = to_optuna(search, before, seed=int(seed))
    distributions = {name: _distribution(range) for name, range in search.ranges.items()}
    with _quiet():
        if not before:
            study.enqueue_trial(search.defaults)
        asked = [study.ask({**distributions}).params for _ in range(count)]
    return [{name: range.nearest(values[name]) for name, range in search.ranges.items()} for values in asked]


def to_optuna(search: Search, trials: Sequence[Trial], *, seed: int | None = None) -> optuna.Study:
    """Give the trials as a study of Optuna's, in memory, for its plots, its dashboard and its samplers."""
    require_optuna()
    import optuna

    distributions = {name: _distribution(range) for name, range in search.ranges.items()}
    with _quiet():
        study = optuna.create_study(
            study_name=search.loss,
            direction="maximize",
            # trials under way count as bad ones, so that those of a batch keep apart
            sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True),
        )
        for trial in trials:
            values = {name: _as_drawn(trial.values[name], range) for name, range in search.ranges.items()}
            study.add_trial(
                optuna.trial.create_trial(
                    params=values,
                    distributions={**distributions},
                    value=trial.score,
                    user_attrs={"loss": trial.loss, "status": trial.run.status},
                )
            )
    return study


def importances(search: Search, trials: Sequence[Trial]) -> dict[str, float]:
    """Give the share of each name in what the score depends on (PED-ANOVA), the greatest first.

    Empty where there is nothing to tell apart: fewer than two scores, or only one name.
    """
    if len({trial.score for trial in trials}) < 2 or len(search.ranges) < 2:
        return {}
    import optuna

    study = to_optuna(search, trials)
    with _quiet():
        return {str(name): float(v) for name, v in optuna.importance.get_param_importances(study).items()}


def _distribution(range: Range) -> FloatDistribution | IntDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    if range.whole:
        return IntDistribution(int(range.low), int(range.high), log=range.log)
    return FloatDistribution(range.low, range.high, log=range.log)


def _as_drawn(value: float, range: Range) -> float:
    return int(value) if range.whole else value


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from telling of studies that are nobody's but ours."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)
