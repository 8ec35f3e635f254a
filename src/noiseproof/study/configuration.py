"""One run of a study as data: what it is, and what it is called."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Self

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from noiseproof import noise
from noiseproof.errors import NoiseproofError
from noiseproof.losses.text import named, own_code
from noiseproof.models import Model
from noiseproof.schema import Schema
from noiseproof.training import Recipe

LONGEST_NAME = 120
"""Characters of a loss in a file's name, since a name may have 255 bytes; what is cut stands as a hash."""


class WithCode(Schema):
    """What names losses, and so perhaps code that is not ours.

    ``code``: by module, twelve digits of the SHA-256 of each file that a loss of one's own is from, noted
    when a training begins, so that runs of a loss that was changed meanwhile are not taken for the same.
    Left out where it is empty.
    """

    code: dict[str, str] = Field(default_factory=dict)

    @model_serializer(mode="wrap")
    def _without_empty_code(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = dump(self)
        return {field: value for field, value in dumped.items() if field != "code" or value}

    def with_code_of(self, *texts: str) -> Self:
        """Note the code of losses; raises `NoiseproofError` if one can't be read, or is other code now."""
        found = own_code(texts)
        for module, code in self.code.items():
            if found.get(module) != code:
                raise NoiseproofError(
                    f"{module} is other code than it was: {found.get(module)}, expected {code}"
                )
        return self.model_copy(update={"code": found})


class RunConfiguration(WithCode):
    """Everything that decides a run's numbers, but for the data's own bytes and the hardware's rounding."""

    data: str
    model: Model
    recipe: Recipe
    loss: str
    noise: str
    seed: int

    @field_validator("loss")
    @classmethod
    def _loss_text(cls, text: str) -> str:
        return str(named(text))

    @field_validator("noise")
    @classmethod
    def _noise_text(cls, text: str) -> str:
        return str(noise.parse(text))

    @property
    def label(self) -> str:
        """The loss as tables print it."""
        return named(self.loss).label

    @property
    def id(self) -> str:
        """A file name: unique within a study, whose runs differ in loss, noise and seed.

        >>> from noiseproof.study import load_study
        >>> load_study("smoke").runs()[-1].id
        'nce+mae_asymmetric-0.4_seed-0'
        """
        loss = re.sub(r"[^a-z0-9.+]+", "-", self.label.lower()).strip("-")
        if len(loss) > LONGEST_NAME:
            loss = f"{loss[:LONGEST_NAME]}-{hashlib.sha256(self.loss.encode()).hexdigest()[:8]}"
        return f"{loss}_{self.noise.replace(':', '-')}_seed-{self.seed}"

    @property
    def hash(self) -> str:
        """Eight hexadecimal digits of the whole configuration."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]

    def differences(self, other: RunConfiguration) -> list[str]:
        """Name the settings, apart from loss, noise and seed, in which two runs differ, with both values.

        The code of a loss of one's own is one, where both have that loss.
        """
        mine, theirs = _settings(self), _settings(other)
        for module in self.code.keys() & other.code.keys():
            mine[f"code.{module}"], theirs[f"code.{module}"] = self.code[module], other.code[module]
        return [
            f"{name} = {theirs.get(name)!r} against {mine.get(name)!r}"
            for name in {**mine, **theirs}
            if mine.get(name) != theirs.get(name)
        ]


def _settings(run: RunConfiguration) -> dict[str, object]:
    """Flatten to ``{"recipe.epochs": 50, ...}``."""
    return {"data": run.data} | {
        f"{group}.{name}": value
        for group in ("model", "recipe")
        for name, value in getattr(run, group).model_dump().items()
    }
