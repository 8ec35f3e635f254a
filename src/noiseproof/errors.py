"""The one error a user meets: it names the value, what was expected, and the nearest valid choice."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST_SHOWN = 200
"""Characters of a value that an error shows."""


class NoiseproofError(ValueError):
    """Bad input, explained in one line.

    The command line prints it as ``error: ...`` and exits with code 2; in Python it is a `ValueError`.
    """


def one_line(text: str) -> str:
    """Fold all white space, line ends too, into single spaces.

    >>> one_line("a name\\n  of two lines")
    'a name of two lines'
    """
    return " ".join(text.split())


def shown(value: object) -> str:
    """Give ``repr(value)``, cut if it is long: an error is one line, not the whole file.

    >>> shown("symmetric:0.4")
    "'symmetric:0.4'"
    >>> len(shown("x" * 1_000_000))
    203
    """
    try:
        text = repr(value)
    except RecursionError:
        return f"a {type(value).__name__} of too many levels"
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."


def did_you_mean(given: str, choices: Iterable[str]) -> str:
    """A clause that offers the choice nearest to ``given``, or lists all of them if none is near.

    >>> did_you_mean("ncee", ["ce", "nce", "mae"])
    "did you mean 'nce'?"
    >>> did_you_mean("nlf", ["nl", "nfl"])
    "did you mean 'nfl'?"
    >>> did_you_mean("zzz", ["ce", "nce"])
    "expected one of 'ce', 'nce'"
    """
    names = list(choices)
    near = difflib.get_close_matches(given.lower(), names, n=3, cutoff=0.6)
    if near:
        # swapped letters are the likeliest slip
        nearest = min(near, key=lambda name: sorted(name) != sorted(given.lower()))
        return f"did you mean {nearest!r}?"
    return "expected one of " + ", ".join(repr(name) for name in names)
