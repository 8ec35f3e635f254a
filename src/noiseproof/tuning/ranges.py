"""Where each number of a loss is searched: what the user says, else a range that suits what it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import model_validator

from noiseproof.errors import NoiseproofError, did_you_mean
from noiseproof.losses import Template
from noiseproof.losses.base import number_text
from noiseproof.losses.text import Role
from noiseproof.schema import Schema

FORM = "LOW:HIGH or LOW:HIGH:log, such as 0.1:10:log"


class Range(Schema):
    """Numbers from ``low`` to ``high``, both included; ``log``: even in the logarithm; ``whole``: integers.

    >>> Range.parse("0.1:10:log")
    Range(low=0.1, high=10.0, log=True, whole=False)
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"the low end must be below the high one, got {self}")
        if self.log and not self.low > 0:
            raise ValueError(f"a logarithmic range must be above 0, got {self}")
        if self.whole and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"the ends must be whole numbers, got {self}")
        return self

    @classmethod
    def parse(cls, text: str) -> Range:
        """Read ``LOW:HIGH`` or ``LOW:HIGH:log``; raises `NoiseproofError` for anything else."""
        parts = [part.strip() for part in text.split(":")]
        try:
            low, high, *scale = (float(parts[0]), float(parts[1]), *parts[2:])
        except (ValueError, IndexError):
            raise NoiseproofError(f"a range must be {FORM}, got {text!r}") from None
        if scale not in ([], ["log"]):
            raise NoiseproofError(f"a range must be {FORM}, got {text!r}")
        return cls.read({"low": low, "high": high, "log": bool(scale)}, where=f"range {text!r}")

    def nearest(self, value: float) -> float:
        """Give a value's first four digits, within the range: nobody wants to type, or trust, more."""
        near = min(max(float(f"{value:.4g}"), self.low), self.high)
        return round(near) if self.whole else near

    def __str__(self) -> str:
        """``0.1:10:log``, as `parse` reads it."""
        return f"{number_text(self.low)}:{number_text(self.high)}" + (":log" if self.log else "")


def _linear(low: float, high: float) -> Range:
    return Range(low=low, high=high)


def _log(low: float, high: float) -> Range:
    return Range(low=low, high=high, log=True)


WEIGHT = _log(0.01, 100)
"""Of a weight: two decades to either side of 1, where most are that authors chose."""

DEFAULTS: dict[str, dict[str, Range]] = {
    "fl": {"gamma": _linear(0, 5)},
    "nfl": {"gamma": _linear(0, 5)},
    "nnfl": {"gamma": _linear(0, 5), "p_min": _log(1e-8, 1e-3)},
    "nnce": {"p_min": _log(1e-8, 1e-3)},
    "rce": {"A": _linear(-10, -1)},
    "nrce": {"A": _linear(-10, -1)},
    "sce": {"alpha": WEIGHT, "beta": WEIGHT, "A": _linear(-10, -1)},
    "gce": {"q": _linear(0.05, 1)},
    "ngce": {"q": _linear(0.05, 1)},
    "ls": {"epsilon": _linear(0, 0.9)},
    "js": {"pi": _linear(0.05, 0.95)},
    "tce": {"t": Range(low=1, high=20, log=True, whole=True)},
    "aul": {"a": _linear(1.1, 10), "q": _log(0.1, 5)},
    "agce": {"a": _log(0.1, 10), "q": _log(0.1, 5)},
    "ael": {"a": _log(0.5, 10)},
    "ce_eps": {"m": _log(1, 1e6)},
    "fl_eps": {"m": _log(1, 1e6), "gamma": _linear(0, 5)},
    "bitempered": {"t1": _linear(0, 1), "t2": _linear(1, 4)},
}
"""Of every hyperparameter in the catalogue; they hold what authors chose, see ``losses/presets.toml``."""


def choose_ranges(template: Template, given: Mapping[str, Range]) -> dict[str, Range]:
    """Give a range for each name of a template: the given one, else the default of what it stands for.

    Raises `NoiseproofError` for a name that is not in the template, one that stands for unlike things and has
    no range, and a range that leads out of what its loss allows.

    >>> {name: str(range) for name, range in choose_ranges(Template("a*nce + gce(q=q)"), {}).items()}
    {'a': '0.01:100:log', 'q': '0.05:1'}
    """
    for name in given:
        if name not in template.roles:
            raise NoiseproofError(
                f"loss {template.text!r} has no name {name!r} to search; {did_you_mean(name, template.roles)}"
            )
    chosen = {name: _range(template, name, given.get(name)) for name in template.roles}
    # each bound of a loss is one-sided, so what holds in these two corners holds between them
    for corner in ("low", "high"):
        try:
            template.fill({name: getattr(range, corner) for name, range in chosen.items()})
        except NoiseproofError as error:
            raise NoiseproofError(f"at the {corner} end of the ranges: {error}") from None
    return chosen


def _range(template: Template, name: str, given: Range | None) -> Range:
    roles = template.roles[name]
    if given is not None:
        whole = given.whole or any(_is_whole(role) for role in roles)
        return Range.read(given.model_dump() | {"whole": whole}, where=f"range of {name!r}")
    for role in roles:
        if role.loss and role.loss not in DEFAULTS:
            raise NoiseproofError(f"{name!r} is {role}, a loss of your own; give its range, {FORM}")
    defaults = [DEFAULTS[role.loss][role.hyperparameter] if role.loss else WEIGHT for role in roles]
    if len(set(defaults)) > 1:
        uses = ", ".join(dict.fromkeys(map(str, roles)))
        raise NoiseproofError(f"{name!r} stands for unlike things ({uses}); give its range, {FORM}")
    return defaults[0]


def _is_whole(role: Role) -> bool:
    """Tell whether a number has to be whole; that of a loss of one's own, if its default is."""
    known = DEFAULTS.get(role.loss, {}).get(role.hyperparameter)
    return known.whole if known is not None else bool(role.loss) and isinstance(role.default, int)
