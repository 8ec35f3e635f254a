"""Losses as text with names where numbers stand: ``alpha*nce + beta*mae``, ``gce(q=q)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

from noiseproof.errors import NoiseproofError, did_you_mean
from noiseproof.losses.base import Loss
from noiseproof.losses.evaluation import Options
from noiseproof.losses.text import Reader, Role


class Template:
    """A loss text in which free names stand for weights and hyperparameters, to be filled with numbers.

    The grammar is that of `parse`; any name that is no loss may stand where a number does, more than once
    too. ``roles``: what each name stands for, in the order of the text. ``imports``: whether losses of one's
    own are imported; if not, their hyperparameters have no default that is known, and they have no values.

    Raises:
        NoiseproofError: the text is no loss with numbers in place of the names, or has no name to fill.

    >>> template = Template("alpha*nce + gce(q=q)")
    >>> {name: [str(role) for role in roles] for name, roles in template.roles.items()}
    {'alpha': ['a weight'], 'q': ['q of gce']}
    >>> template.fill({"alpha": 2, "q": 0.5})
    2*nce + gce(q=0.5)
    """

    def __init__(self, text: str, *, imports: bool = True) -> None:
        self.text = text
        self._imports = imports
        self.roles: dict[str, tuple[Role, ...]] = {}
        # read at its defaults, everything else about the text is checked as any loss's is
        Reader(text, {}, self._note, imports=imports).read()
        if not self.roles:
            raise NoiseproofError(
                f"loss {text.strip()!r} has no free name; expected one where a number stands,"
                " such as 'alpha*nce + beta*mae' or 'gce(q=q)'"
            )

    def fill(self, values: Mapping[str, float], **options: Unpack[Options]) -> Loss:
        """Give the loss with a number for each name; options as for `Loss`.

        Raises `NoiseproofError` for a name without a number, a number without a name, and whatever `parse`
        refuses.
        """
        for name in values:
            if name not in self.roles:
                raise NoiseproofError(
                    f"loss {self.text!r} has no name {name!r}; {did_you_mean(name, self.roles)}"
                )
        for name in self.roles:
            if name not in values:
                raise NoiseproofError(f"loss {self.text!r} needs a number for {name!r}")
        return Reader(self.text, options, lambda name, _: values[name], imports=self._imports).read()

    def _note(self, name: str, role: Role) -> float:
        self.roles[name] = (*self.roles.get(name, ()), role)
        return 1.0 if role.default is None else role.default

    def __str__(self) -> str:
        """Give the text as it was written."""
        return self.text
