"""A search as data: what it takes from a study, what it refuses, and what tells two searches apart."""

from __future__ import annotations

from typing import Any

import pytest

from noiseproof.errors import NoiseproofError
from noiseproof.study import Study
from noiseproof.tuning import Range, Search


def test_a_search_takes_data_network_recipe_and_the_one_noise_of_a_study(study: Study) -> None:
    search = Search.of(
        study, " alpha*nce + gce(q=q) ", ranges={"q": "0.2:0.9", "alpha": Range(low=1, high=2)}
    )
    assert (search.data, search.model, search.recipe) == (study.data, study.model, study.recipe)
    assert (search.noise, search.loss) == ("symmetric:0.4", "alpha*nce + gce(q=q)")
    assert search.ranges == {"alpha": Range(low=1, high=2), "q": Range(low=0.2, high=0.9)}
    assert Search.read(search.model_dump(mode="json"), where="again") == search


def test_the_defaults_are_the_losss_own_within_the_ranges(study: Study) -> None:
    text = "alpha*nce + gce(q=q) + tce(t=t)"
    assert Search.of(study, text).defaults == {"alpha": 1, "q": 0.7, "t": 2}
    narrow = Search.of(study, text, ranges={"alpha": "3:4", "q": "0.1:0.5", "t": "5:6"})
    assert narrow.defaults == {"alpha": 3, "q": 0.5, "t": 5}


def test_of_several_noises_one_is_named(study: Study) -> None:
    several = study.model_copy(update={"noises": ("symmetric:0.2", "asymmetric:0.4")})
    with pytest.raises(NoiseproofError, match=r"the study has 2: symmetric:0\.2, asymmetric:0\.4; say which"):
        Search.of(several, "a*nce")
    assert Search.of(several, "a*nce", noise="pairflip: 0.10").noise == "pairflip:0.1"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"noise": "symetric:0.4"}, "unknown kind 'symetric'; did you mean 'symmetric'?"),
        ({"loss": "nce"}, "loss 'nce' has no free name"),
        ({"ranges": {"beta": "1:2"}}, "has no name 'beta' to search; expected one of 'a'"),
        ({"ranges": {"a": "1"}}, "a range must be LOW:HIGH"),
        ({"seed": -1}, "'seed': input should be greater than or equal to 0, got -1"),
        ({"seed": 2**64}, "'seed'"),
        ({"holdout": 0.0}, "'holdout': input should be greater than 0, got 0.0"),
        ({"holdout": 1.0}, "'holdout': input should be less than 1, got 1.0"),
        ({"batch": 0}, "'batch': input should be greater than or equal to 1, got 0"),
    ],
)
def test_what_can_not_be_searched_is_refused_in_one_line(
    study: Study, arguments: dict[str, Any], fault: str
) -> None:
    with pytest.raises(NoiseproofError) as refusal:
        Search.of(study, **{"loss": "a*nce"} | arguments)
    assert fault in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_a_search_read_from_a_file_is_whole(search: Search) -> None:
    content = search.model_dump(mode="json")
    del content["ranges"]["q"]
    with pytest.raises(NoiseproofError, match="there must be a range for each name"):
        Search.read(content, where="file")


def test_searches_that_differ_say_in_what(study: Study, search: Search) -> None:
    other = Search.of(study, search.loss, batch=4, seed=1, ranges={"q": "0.1:1"})
    assert other.hash != search.hash
    assert search.differences(search) == []
    faults = search.differences(other)
    assert len(faults) == 2
    assert "seed = 1 against 0" in faults
