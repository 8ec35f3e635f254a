"""A study as typed data: which losses, under which label noise, on which data, trained how."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, field_validator, model_validator

from noiseproof import data, noise
from noiseproof.errors import LONGEST_SHOWN, NoiseproofError, did_you_mean
from noiseproof.losses.own import own_modules
from noiseproof.losses.text import named
from noiseproof.models import Model
from noiseproof.study.configuration import RunConfiguration, WithCode
from noiseproof.training import Recipe

Value = TypeVar("Value", str, int)

Texts = Annotated[tuple[str, ...], Field(min_length=1)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**64)]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1)]


MOST_RUNS = 20_000
"""Of a study; more would take minutes to list."""


TOLD_IN_TITLES = {"data", "model", "losses", "noises"}
"""What a study's title speaks of."""


class Study(WithCode):
    """Every loss, under every noise, from every seed, on one data set with one network and recipe.

    ``losses`` and ``noises`` are texts, as `noiseproof.losses.parse` and `noiseproof.noise.parse` read
    them. In a file it is TOML, with tables ``[model]`` and ``[recipe]``.
    """

    title: str = ""
    data: str
    model: Model
    recipe: Recipe = Recipe()
    losses: Texts
    noises: Texts
    seeds: Seeds = (0,)

    @field_validator("data")
    @classmethod
    def _known_data(cls, name: str) -> str:
        data.check_name(name)
        return name

    @field_validator("losses")
    @classmethod
    def _loss_texts(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        return _distinct(texts, lambda text: str(named(text)))

    @field_validator("noises")
    @classmethod
    def _noise_texts(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        return _distinct(texts, lambda text: str(noise.parse(text)))

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        return _distinct(seeds, int)

    @model_validator(mode="after")
    def _not_too_many(self) -> Study:
        number = len(self.seeds) * len(self.losses) * len(self.noises)
        if number > MOST_RUNS:
            raise ValueError(f"a study may have at most {MOST_RUNS} runs, got {number}")
        return self

    @model_validator(mode="after")
    def _distinct_ids(self) -> Study:
        _distinct((run.id for run in self.runs()), str)
        return self

    def pinned(self) -> Study:
        """Give the same study with the code of its network and its losses noted, if that is not ours.

        Raises `NoiseproofError` if any can't be imported, is none, or is other code than was noted before.
        """
        return self.with_code_of(*self.losses).model_copy(update={"model": self.model.pinned()})

    def runs(self) -> list[RunConfiguration]:
        """List every run, the first seed's first, so that an unfinished study has whole tables.

        Their ``data`` is a label: records are shown to others, who need not know where somebody's files are.
        """
        label = data.label(self.data)
        code = {loss: self._code_of(loss) for loss in self.losses}
        return [
            RunConfiguration(
                data=label,
                model=self.model,
                recipe=self.recipe,
                loss=loss,
                noise=noise_text,
                seed=seed,
                code=code[loss],
            )
            for seed in self.seeds
            for loss in self.losses
            for noise_text in self.noises
        ]

    def _code_of(self, loss: str) -> dict[str, str]:
        modules = own_modules(named(loss))
        return {module: code for module, code in self.code.items() if module in modules}


def load_study(name: str, changes: Mapping[str, Any] | None = None, *, where: str = "") -> Study:
    """Load a built-in study by name, or one from a ``.toml`` file, with ``changes`` to its settings.

    Raises `NoiseproofError` for an unknown name, an unreadable file, or a fault in it; the last begins with
    ``where``, by default the study's name.

    >>> load_study("smoke", {"recipe.epochs": 2}).recipe.epochs
    2
    """
    where = where or f"study {name!r}"
    if name in built_in_studies():
        text = (_library() / f"{name}.toml").read_text()
    else:
        path = Path(name)
        if path.suffix != ".toml":
            offer = did_you_mean(name, built_in_studies())
            raise NoiseproofError(f"unknown study {name!r}; {offer} (a study of your own ends in .toml)")
        try:
            text = path.read_text()
        except (OSError, ValueError) as error:  # a name may hold what no file's name does
            reason = getattr(error, "strerror", None) or error
            raise NoiseproofError(f"{where} cannot be read: {reason}") from None
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # too long a number, too deep a table
        raise NoiseproofError(f"{where} is not valid TOML: {str(error)[:LONGEST_SHOWN]}") from None
    return changed(content, changes or {}, where=where)


def changed(content: dict[str, Any], changes: Mapping[str, Any], *, where: str) -> Study:
    """Read a study from a dictionary with ``changes`` to it by place, such as ``recipe.epochs``.

    A title goes that may not be true of the changed study, unless it is changed too. Raises
    `NoiseproofError`, which begins with ``where``, for a fault in either.
    """
    if TOLD_IN_TITLES.intersection(place.partition(".")[0] for place in changes):
        content = {field: value for field, value in content.items() if field != "title"}
    for place, value in changes.items():
        *tables, field = place.split(".")
        table = content
        for key in tables:
            table = table.setdefault(key, {})
            if not isinstance(table, dict):
                raise NoiseproofError(f"{where}: {key!r} is no table, so {place!r} cannot be set")
        table[field] = value
    return Study.read(content, where=where)


def built_in_studies() -> list[str]:
    """Names of the studies that come with the package."""
    return sorted(Path(entry.name).stem for entry in _library().iterdir() if entry.name.endswith(".toml"))


def _library() -> resources.abc.Traversable:
    return resources.files("noiseproof.study") / "library"


def _distinct(values: Iterable[Value], canonical: Callable[[Value], Value]) -> tuple[Value, ...]:
    """Give the values in canonical form; raises `ValueError` if two are the same."""
    seen: dict[Value, None] = {}
    for value in values:
        key = canonical(value)
        if key in seen:
            raise ValueError(f"{value!r} is there twice")
        seen[key] = None
    return tuple(seen)
