"""A search as typed data: which numbers of which loss, on which noisy labels, with which training."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from noiseproof import data, noise
from noiseproof.errors import NoiseproofError
from noiseproof.losses import Template
from noiseproof.models import Model
from noiseproof.study import RunConfiguration, Study
from noiseproof.study.configuration import WithCode
from noiseproof.training import Recipe
from noiseproof.tuning.ranges import Range, choose_ranges

Seed = Annotated[int, Field(strict=True, ge=0, lt=2**64)]
Fraction = Annotated[float, Field(strict=True, gt=0, lt=1)]
Batch = Annotated[int, Field(strict=True, ge=1)]


class Search(WithCode):
    """Everything that decides the trials of a search, but for how many there are.

    ``loss``: the text of a `Template`. ``ranges``: where each of its names is searched. ``noise``: of the
    training labels. ``seed``: of the noise, the held-out part, the initial weights, the batches of images and
    the search itself. ``holdout``: the share of the training set that is held out. ``batch``: trials that are
    proposed together, from what the batches before have shown.
    """

    data: str
    model: Model
    recipe: Recipe
    noise: str
    loss: str
    ranges: dict[str, Range]
    seed: Seed = 0
    holdout: Fraction = 0.2
    batch: Batch = 8

    @field_validator("data")
    @classmethod
    def _known_data(cls, name: str) -> str:
        data.check_name(name)
        return name

    @field_validator("noise")
    @classmethod
    def _noise_text(cls, text: str) -> str:
        return str(noise.parse(text))

    @field_validator("loss")
    @classmethod
    def _loss_text(cls, text: str) -> str:
        return Template(text, imports=False).text

    @model_validator(mode="after")
    def _a_range_for_each_name(self) -> Self:
        if choose_ranges(self.template, self.ranges) != self.ranges:
            raise ValueError(f"there must be a range for each name of {self.loss!r}")
        return self

    @classmethod
    def of(
        cls,
        study: Study,
        loss: str,
        *,
        noise: str | None = None,
        ranges: Mapping[str, Range | str] | None = None,
        seed: int = 0,
        holdout: float = 0.2,
        batch: int = 8,
    ) -> Search:
        """Search the numbers of ``loss`` on a study's data, with its network and its recipe.

        Args:
            study: its losses and seeds do not matter.
            loss: a text with names where numbers stand, such as ``alpha*nce + beta*mae``.
            noise: needed if the study has several.
            ranges: by name, as `Range` or its text; names that are missing have their default range.
            seed: of all that is random, >= 0.
            holdout: share of the training set to hold out, in (0, 1).
            batch: trials proposed together, >= 1.

        Raises:
            NoiseproofError: any of these is not what it must be, or the study's noise must be chosen.

        >>> from noiseproof.study import load_study
        >>> search = Search.of(load_study("digits"), "alpha*nce + mae", noise="symmetric:0.4")
        >>> str(search.ranges["alpha"])
        '0.01:100:log'
        """
        if noise is None:
            if len(study.noises) > 1:
                raise NoiseproofError(
                    f"a search is for one noise, and the study has {len(study.noises)}:"
                    f" {', '.join(study.noises)}; say which (--noise)"
                )
            (noise,) = study.noises
        read = {
            name: range if isinstance(range, Range) else Range.parse(range)
            for name, range in (ranges or {}).items()
        }
        return cls.read(
            {
                "data": study.data,
                "model": study.model.model_dump(),
                "recipe": study.recipe.model_dump(),
                "noise": noise,
                "loss": loss.strip(),
                "ranges": {
                    name: range.model_dump() for name, range in choose_ranges(Template(loss), read).items()
                },
                "seed": seed,
                "holdout": holdout,
                "batch": batch,
            },
            where="search",
        )

    @property
    def template(self) -> Template:
        """The loss with its names; losses of one's own are not imported."""
        return Template(self.loss, imports=False)

    @property
    def defaults(self) -> dict[str, float]:
        """What each name's number is where nobody says: 1 for a weight; within its range.

        The hyperparameters of a loss of one's own are missing.
        """
        return {
            name: self.ranges[name].nearest(roles[0].default)
            for name, roles in self.template.roles.items()
            if roles[0].default is not None
        }

    def pinned(self) -> Self:
        """Give the same search with the code of its network and its loss noted, if that is not ours.

        Raises `NoiseproofError` as `Study.pinned` does.
        """
        loss = self._anywhere().loss
        return self.with_code_of(loss).model_copy(update={"model": self.model.pinned()})

    @property
    def hash(self) -> str:
        """Eight hexadecimal digits of the whole search."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]

    def configuration(self, values: Mapping[str, float]) -> RunConfiguration:
        """Configure the run that tries these numbers, on labels as given: those that are not held out.

        Its ``data`` is a label, which does not say where somebody's files are.
        """
        return RunConfiguration(
            data=data.label(self.data),
            model=self.model,
            recipe=self.recipe,
            loss=str(self.template.fill(values)),
            noise=noise.GIVEN,
            seed=self.seed,
            code=self.code,
        )

    def _anywhere(self) -> RunConfiguration:
        """Configure a run of some numbers within the ranges."""
        low = {name: range.low for name, range in self.ranges.items()}
        return self.configuration(low | self.defaults)

    def study(self) -> Study:
        """Give a study of the same network and recipe, which is what chooses the engine."""
        run = self._anywhere()
        return Study(
            data=self.data,
            model=self.model,
            recipe=self.recipe,
            losses=(run.loss,),
            noises=(run.noise,),
            code=self.code,
        )

    def differences(self, other: Search) -> list[str]:
        """Name the settings in which two searches differ, with both values."""
        mine, theirs = self.model_dump(mode="json"), other.model_dump(mode="json")
        return [
            f"{name} = {theirs.get(name)!r} against {mine.get(name)!r}"
            for name in {**mine, **theirs}
            if mine.get(name) != theirs.get(name)
        ]
