"""What a study has written so far: records of finished runs, checkpoints of those under way."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from noiseproof import data
from noiseproof.errors import NoiseproofError
from noiseproof.files import make_folder, write_atomically
from noiseproof.study.configuration import RunConfiguration
from noiseproof.study.locks import Locks
from noiseproof.study.record import Record, read_record, write_record
from noiseproof.study.study import Study
from noiseproof.training import Checkpoint
from noiseproof.training.checkpoint import load, save


@dataclass(frozen=True)
class Identity:
    """What a run is: its configuration and the bytes of its data. Nothing else may share its numbers."""

    config: RunConfiguration
    fingerprint: str

    def __str__(self) -> str:
        """The identity as a checkpoint carries it."""
        return json.dumps({"config": self.config.model_dump(mode="json"), "fingerprint": self.fingerprint})

    @classmethod
    def parse(cls, text: str, *, where: str) -> Identity:
        """Read back what ``str`` gave; raises `NoiseproofError` that names ``where`` for anything else."""
        try:
            content = json.loads(text)
            config, fingerprint = content["config"], str(content["fingerprint"])
        except (ValueError, LookupError, TypeError, RecursionError):
            raise NoiseproofError(f"{where}: it does not say which run it is of") from None
        return cls(RunConfiguration.read(config, where=where), fingerprint)

    def differences(self, other: Identity) -> list[str]:
        """Name what differs, but for loss, noise and seed."""
        same_data = self.fingerprint == other.fingerprint
        data = [] if same_data else [f"data {other.fingerprint[:12]} against {self.fingerprint[:12]}"]
        return self.config.differences(other.config) + data


class Archive:
    """A folder with ``study.json``, ``runs/<run id>.json`` and ``checkpoints/<run id>.pt``.

    Several processes, on several machines, may share it: ``locks`` says which of them trains what. Whoever
    holds a run, and nobody else, writes and removes its files.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.runs = self.folder / "runs"
        self.checkpoints = self.folder / "checkpoints"
        self.networks = self.folder / "networks"
        self.locks = Locks(self.folder / "locks")
        self._seen: dict[Path, tuple[object, Record | None]] = {}
        self._damaged: dict[Path, object] = {}
        self._steps_done: dict[str, int] = {}

    def make(self) -> None:
        """Make the folders; raises `NoiseproofError` if they can't be written to, or hold a search."""
        if (self.folder / "search.json").exists():
            raise NoiseproofError(f"{str(self.folder)!r} holds a search, not a study; choose another --out")
        for folder in (self.folder, self.runs, self.checkpoints):
            make_folder(folder)

    def begin(self, study: Study, identity: Identity) -> None:
        """Say that this process is at work here, and on what; raises `NoiseproofError` if it may not be.

        ``identity`` is that of any of the study's runs.
        """
        # a run has the code of its own loss only
        config = identity.config.model_copy(update={"code": study.code})
        identity = replace(identity, config=config)
        self.locks.announce(str(identity))
        self.refuse_others(identity)
        self.sweep()
        self.describe(study)

    def finished(self) -> dict[str, Record]:
        """Read the records by run id; a damaged one is named in a warning and left out.

        A record that has not changed since the last time is not read again.
        """
        records = {}
        for path in sorted(self.runs.glob("*.json")):
            stamp = _stamp(path)
            if path not in self._seen or self._seen[path][0] != stamp:
                self._seen[path] = (stamp, _record(path))
            record = self._seen[path][1]
            if record is not None:
                records[path.stem] = record
        return records

    def under_way(self, run_ids: Iterable[str] | None = None) -> dict[str, Checkpoint]:
        """Read the checkpoints by run id, of all runs or some; a damaged one is named and left out."""
        checkpoints = {}
        for path in self._checkpoint_files(run_ids):
            stamp = _stamp(path)
            if self._damaged.get(path) == stamp:  # named already
                continue
            try:
                checkpoints[path.stem] = self._loaded(path)
            except NoiseproofError as error:
                self._damaged[path] = stamp
                warnings.warn(f"{error}; its run starts afresh", stacklevel=2)
        return checkpoints

    def steps_done(self, run_ids: Iterable[str]) -> int:
        """Count the training steps that runs have done, by their checkpoints as they were last read."""
        return sum(self._steps_done.get(run_id, 0) for run_id in run_ids)

    def refuse_others(self, identity: Identity) -> None:
        """Raise `NoiseproofError` if a run here differs from ``identity`` in more than its setting.

        That is asked of every record, every checkpoint, and every other process that is at work here.
        """
        for text in self.locks.others():
            if differences := identity.differences(Identity.parse(text, where=str(self.locks.folder))):
                raise NoiseproofError(
                    f"{str(self.folder)!r} is used by a process of another configuration"
                    f" ({'; '.join(differences)}); choose another --out"
                )
        for other in self._identities():
            if differences := identity.differences(other):
                raise NoiseproofError(
                    f"{str(self.folder)!r} holds runs of another configuration ({'; '.join(differences)});"
                    " choose another --out"
                )

    def sweep(self) -> None:
        """Remove what dead processes left half written, unless another process is at work here."""
        folders = (self.folder, self.runs, self.checkpoints, self.networks)
        halves = [path for folder in folders for path in folder.glob(".*.tmp")]
        # asked after the listing: whoever comes later has written nothing that is listed
        if self.locks.supported and not any(True for _ in self.locks.others()):
            for path in halves:
                path.unlink(missing_ok=True)

    def refresh(self) -> None:
        """See what other machines have written: on NFS a folder's listing may be half a minute old."""
        make_folder(self.runs)  # which makes a file in it for a moment, and so has the listing renewed
        make_folder(self.checkpoints)

    def describe(self, study: Study) -> None:
        """Keep what was planned, so that a report can say what is missing; of the data its label, no path."""
        labelled = study.model_copy(update={"data": data.label(study.data)})
        write_atomically(self.folder / "study.json", labelled.model_dump_json(indent=1) + "\n")

    def plan(self) -> Study | None:
        """Read what was planned, or None if nothing says so."""
        path = self.folder / "study.json"
        if not path.is_file():
            return None
        try:
            return Study.read(json.loads(path.read_text()), where=str(path))
        except ValueError as error:
            raise NoiseproofError(f"{str(path)!r} is damaged ({error}); delete it") from None

    def save(self, runs: Iterable[tuple[RunConfiguration, Checkpoint]]) -> None:
        """Write the checkpoints of runs under way."""
        for config, checkpoint in runs:
            save(checkpoint, self.checkpoints / f"{config.id}.pt")

    def add(self, record: Record) -> None:
        """Write the record of a finished run, then remove its checkpoint."""
        write_record(record, self.runs / f"{record.config.id}.json")
        self.forget_checkpoint(record.config.id)

    def network(self, run_id: str) -> Path:
        """Give the place of a run's trained network, whether it is kept there or not."""
        return self.networks / f"{run_id}.pt"

    def forget_checkpoint(self, run_id: str) -> None:
        """Remove the checkpoint of a run, if there is one."""
        (self.checkpoints / f"{run_id}.pt").unlink(missing_ok=True)

    def clear_checkpoints(self, run_ids: Iterable[str]) -> None:
        """Remove the checkpoints of recorded runs: of a kill between the record and the removal."""
        for path in self._checkpoint_files(run_ids):
            if self.locks.take(path.stem):
                self.forget_checkpoint(path.stem)
                self.locks.give_back(path.stem, recorded=True)

    def _loaded(self, path: Path) -> Checkpoint:
        checkpoint = load(path)
        self._steps_done[path.stem] = checkpoint.step
        return checkpoint

    def _checkpoint_files(self, run_ids: Iterable[str] | None) -> list[Path]:
        if run_ids is None:
            return sorted(self.checkpoints.glob("*.pt"))
        paths = (self.checkpoints / f"{run_id}.pt" for run_id in run_ids)
        return [path for path in paths if path.exists()]

    def _identities(self) -> Iterator[Identity]:
        for record in self.finished().values():
            yield Identity(record.config, record.data.fingerprint)
        for path in self._checkpoint_files(None):
            checkpoint = None
            # it may be gone, its run finished elsewhere; a damaged one is named when its run is taken
            with suppress(NoiseproofError, FileNotFoundError):
                checkpoint = self._loaded(path)
            if checkpoint is not None:
                yield Identity.parse(checkpoint.identity, where=f"checkpoint of {path.stem}")


def _stamp(path: Path) -> object:
    """What changes when a file is written anew."""
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _record(path: Path) -> Record | None:
    try:
        return read_record(path)
    except NoiseproofError as error:
        warnings.warn(f"{error}; its run counts as not done", stacklevel=3)
        return None
