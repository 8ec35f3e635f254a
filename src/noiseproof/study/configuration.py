"""One run of a study as data: what it is, and what it is called."""

from __future__ import annotations

import hashlib
import re

from pydantic import field_validator

from noiseproof import losses, noise
from noiseproof.models import Model
from noiseproof.schema import Schema
from noiseproof.training import Recipe

LONGEST_NAME = 120
"""Characters of a loss in a file's name, since a name may have 255 bytes; what is cut stands as a hash."""


class RunConfiguration(Schema):
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
        return str(losses.parse(text))

    @field_validator("noise")
    @classmethod
    def _noise_text(cls, text: str) -> str:
        return str(noise.parse(text))

    @property
    def id(self) -> str:
        """A file name: unique within a study, whose runs differ in loss, noise and seed.

        >>> from noiseproof.study import load_study
        >>> load_study("smoke").runs()[-1].id
        'nce+mae_asymmetric-0.4_seed-0'
        """
        loss = re.sub(r"[^a-z0-9.+]+", "-", losses.parse(self.loss).label.lower()).strip("-")
        if len(loss) > LONGEST_NAME:
            loss = f"{loss[:LONGEST_NAME]}-{hashlib.sha256(self.loss.encode()).hexdigest()[:8]}"
        return f"{loss}_{self.noise.replace(':', '-')}_seed-{self.seed}"

    @property
    def hash(self) -> str:
        """Eight hexadecimal digits of the whole configuration."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]

    def differences(self, other: RunConfiguration) -> list[str]:
        """Name the settings, apart from loss, noise and seed, in which two runs differ, with both values."""
        mine, theirs = _settings(self), _settings(other)
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
