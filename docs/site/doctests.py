"""Doctests as code: a docstring's ``>>>`` lines are fenced before they are read as Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

DOCTEST = re.compile(r"(?:^>>> .*\n?)(?:^(?!\s*$).*\n?)*", re.MULTILINE)
"""From a prompt to the next empty line or the docstring's end."""


class Doctests(griffe.Extension):
    """Fences the doctests of every object."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of what was just read."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(docstring: str) -> str:
    """Fence every doctest of a docstring.

    >>> fenced("Add.\\n\\n>>> 1 + 1\\n2").splitlines()
    ['Add.', '', '```pycon', '>>> 1 + 1', '2', '```']
    """
    return DOCTEST.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", docstring).rstrip()
