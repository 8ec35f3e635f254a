"""Code of one's own by its import path, such as ``my_nets:make``: imported, and its file hashed."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from noiseproof.errors import NoiseproofError, did_you_mean, one_line


def is_import_path(path: str) -> bool:
    """Tell whether ``path`` has the form ``MODULE:NAME``, both perhaps with dots.

    >>> is_import_path("my_nets:make"), is_import_path("my_nets.make"), is_import_path("a:b:c")
    (True, False, False)
    """
    module, colon, attribute = path.partition(":")
    return bool(colon) and all(name.isidentifier() for name in f"{module}.{attribute}".split("."))


def imported(path: str) -> Any:
    """Import what ``MODULE:NAME`` names; modules are found in the current folder first, as by ``python -m``.

    Raises `NoiseproofError` if there is no such module or name, or the module can't be imported.

    >>> imported("math:sqrt")(4)
    2.0
    """
    name, _, attributes = path.partition(":")
    try:
        with current_folder_first():
            found: Any = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise NoiseproofError(f"{name} cannot be imported: {said(error)}") from error
        here = [file.stem for file in Path.cwd().glob("*.py")]
        offer = f"; {did_you_mean(name, here)}" if here else ""
        raise NoiseproofError(f"there is no module {error.name!r} for {path!r}{offer}") from None
    except Exception as error:  # somebody else's code
        raise NoiseproofError(f"{name} cannot be imported: {said(error)}") from error
    for attribute in attributes.split("."):
        if not hasattr(found, attribute):
            offer = did_you_mean(attribute, _callables(found))
            raise NoiseproofError(f"{name!r} has no {attribute!r}, for {path!r}; {offer}")
        found = getattr(found, attribute)
    return found


def code(module: str) -> str | None:
    """Give twelve digits of the SHA-256 of an imported module's file, None if it is installed or no file."""
    found = sys.modules[module]
    source = inspect.getsourcefile(found) if getattr(found, "__file__", None) else None
    if source is None:
        return None
    path = Path(source).resolve()
    installed = (sysconfig.get_path(kind) for kind in ("purelib", "platlib", "stdlib"))
    if any(path.is_relative_to(Path(folder).resolve()) for folder in installed):
        return None
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def said(error: Exception) -> str:
    """Give somebody else's exception in one line."""
    return one_line(f"{type(error).__name__}: {error}")


@contextmanager
def current_folder_first() -> Iterator[None]:
    """Have modules found in the current folder before all others."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:  # somebody else's code may have changed it
            sys.path.remove(folder)


def _callables(found: ModuleType | type) -> list[str]:
    return [name for name in vars(found) if not name.startswith("_") and callable(getattr(found, name))]
