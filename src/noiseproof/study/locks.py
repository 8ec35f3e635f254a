"""Who trains what where processes share a folder: locks that end with the process that holds them."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Iterator
from errno import ENOLCK, ENOSYS, ENOTSUP, EOPNOTSUPP
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from noiseproof.files import make_folder

NO_LOCKS = {ENOSYS, ENOTSUP, EOPNOTSUPP, ENOLCK}
"""What a file system answers that has no locks."""


class Locks:
    """The locks of one process: one for each run that it trains, and one that says that it is at work.

    They are the kernel's (flock), so whatever ends a process, ``kill -9`` or a power cut, ends its locks; on
    NFS from version 4 on they hold between machines. Where a file system has none a warning says so, and the
    folder is for one process at a time.

    ``<run id>.lock`` stays until its run has a record, since a file that is removed while somebody waits for
    it locks nothing; ``<process>.process`` holds what the process said of itself.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.supported = True
        self.mark = folder / f"{uuid.uuid4().hex}.process"
        self._held: dict[Path, FileLock] = {}

    def __enter__(self) -> Self:
        make_folder(self.folder)
        return self

    def __exit__(self, *_: object) -> None:
        for path in list(self._held):
            self._release(path)
        self.mark.unlink(missing_ok=True)

    def announce(self, text: str) -> None:
        """Say that this process is at work, and on what; for `others` to read.

        An `OSError`, as of a full disk, names the file.
        """
        while not self._acquire(self.mark):  # somebody took it for one that a dead process left
            continue
        try:
            self.mark.write_text(text)
        except OSError as error:
            error.filename = str(self.mark)  # writing knows of no name
            raise

    def others(self) -> Iterator[str]:
        """Give what every other process said that is at work here; what a dead one left is removed.

        Of two processes that each announce themselves and then look, one at least sees the other.
        """
        for path in sorted(self.folder.glob("*.process")):
            if path == self.mark:
                continue
            try:
                lock = _locked(path)
            except OSError:  # without locks nobody can be seen
                return
            if lock is not None:
                path.unlink(missing_ok=True)
                lock.release()
            elif text := _read(path):
                yield text

    def take(self, run_id: str) -> bool:
        """Take a run, unless another process has it; says whether this one has it now."""
        return self._acquire(self.folder / f"{run_id}.lock")

    def give_back(self, run_id: str, *, recorded: bool = False) -> None:
        """Let others take a run, or, if it is ``recorded`` for good, nobody again."""
        path = self.folder / f"{run_id}.lock"
        self._release(path)
        if recorded:
            path.unlink(missing_ok=True)

    def _acquire(self, path: Path) -> bool:
        try:
            lock = _locked(path)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            if self.supported:
                warnings.warn(
                    f"the file system of {str(self.folder)!r} has no locks ({error.strerror}): let only one"
                    " process at a time use it",
                    stacklevel=2,
                )
            self.supported = False
            return True
        if lock is None:
            return False
        self._held[path] = lock
        return True

    def _release(self, path: Path) -> None:
        lock = self._held.pop(path, None)  # none where the file system has no locks
        if lock is not None:
            lock.release()


def is_held(path: Path) -> bool:
    """Say whether a living process, on whatever machine, holds the lock that this file is."""
    lock = _locked(path)
    if lock is None:
        return True
    lock.release()
    return False


def _locked(path: Path) -> FileLock | None:
    """Lock a file, or give None if it is held; raises `OSError` where there are no locks."""
    # without a fallback: a lock that is a file's existence would outlive its process
    lock = FileLock(path, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


def _read(path: Path) -> str:
    """Read what a process says of itself, nothing if it has not said it yet or is gone."""
    try:
        return path.read_text()
    except OSError:
        return ""
