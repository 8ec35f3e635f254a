"""What a search has written so far: what is searched, its trials, and the checkpoints of those under way."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from noiseproof.errors import NoiseproofError
from noiseproof.files import make_folder, write_atomically
from noiseproof.training import Checkpoint
from noiseproof.training.checkpoint import load, save
from noiseproof.tuning.search import Search
from noiseproof.tuning.trial import Trial, read_trial, write_trial


class Folder:
    """A folder with ``search.json``, ``trials/0007.json`` and ``checkpoints/<run id>.pt``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plan = path / "search.json"
        self.trials = path / "trials"
        self.checkpoints = path / "checkpoints"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folders, and keep other processes out of them; the lock dies with its process.

        Raises `NoiseproofError` if they can't be written to, hold a study, or another process tunes here.
        """
        from filelock import FileLock, Timeout

        if any((self.path / part).exists() for part in ("study.json", "runs")):
            raise NoiseproofError(f"{str(self.path)!r} holds a study, not a search; choose another --out")
        for folder in (self.path, self.trials, self.checkpoints):
            make_folder(folder)
        lock = FileLock(self.path / "search.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise NoiseproofError(
                f"another process is tuning in {str(self.path)!r}; wait for it, or choose another --out"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def take_up(self, search: Search, fingerprint: str) -> dict[int, Trial]:
        """Say what is searched here, and give the trials by number.

        A damaged trial is named in a warning and left out. Raises `NoiseproofError` if another search, or one
        on other data, is here already.
        """
        there = self.search() if self.plan.exists() else None
        finished = self.finished()
        if finished and there is None:
            raise NoiseproofError(
                f"{str(self.path)!r} holds trials, and nothing says of what; choose another --out"
            )
        differences = search.differences(there) if there else []
        known = {trial.run.data.fingerprint for trial in finished.values()} - {fingerprint}
        if known and not differences:
            differences = [f"data {min(known)[:12]} against {fingerprint[:12]}"]
        if differences:
            raise NoiseproofError(
                f"{str(self.path)!r} holds another search ({'; '.join(differences)}); choose another --out"
            )
        write_atomically(self.plan, search.model_dump_json(indent=1) + "\n")
        return finished

    def search(self) -> Search:
        """Read what is searched here; raises `NoiseproofError` if nothing says so."""
        try:
            content = json.loads(self.plan.read_text())
        except (OSError, ValueError) as error:
            raise NoiseproofError(f"{str(self.path)!r} holds no search ({error})") from None
        return Search.read(content, where=str(self.plan))

    def finished(self) -> dict[int, Trial]:
        """Read the trials by number; a damaged one is named in a warning and left out."""
        trials = {}
        for path in sorted(self.trials.glob("*.json")):
            try:
                trial = read_trial(path)
                trials[trial.number] = trial
            except NoiseproofError as error:
                warnings.warn(f"{error}; it counts as not done", stacklevel=2)
        return trials

    def add(self, trial: Trial) -> None:
        """Write a finished trial, then remove the checkpoint of its run."""
        write_trial(trial, self.trials)
        (self.checkpoints / f"{trial.run.config.id}.pt").unlink(missing_ok=True)

    def under_way(self, identities: dict[str, str]) -> dict[str, Checkpoint]:
        """Read the checkpoints of these runs, given as identities by run id; a damaged one is left out."""
        checkpoints = {}
        for run_id, identity in identities.items():
            path = self.checkpoints / f"{run_id}.pt"
            if not path.exists():
                continue
            try:
                checkpoint = load(path)
            except NoiseproofError as error:
                warnings.warn(f"{error}; its trial starts afresh", stacklevel=2)
                continue
            if checkpoint.identity == identity:
                checkpoints[run_id] = checkpoint
        return checkpoints

    def save(self, checkpoints: Iterable[tuple[str, Checkpoint]]) -> None:
        """Write checkpoints by run id."""
        for run_id, checkpoint in checkpoints:
            save(checkpoint, self.checkpoints / f"{run_id}.pt")
