"""What a study has written so far: records of finished runs, checkpoints of those under way."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from noiseproof import data
from noiseproof.errors import NoiseproofError
from noiseproof.files import make_folder, write_atomically
from noiseproof.study.configuration import RunConfiguration
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
    """A folder with ``study.json``, ``runs/<run id>.json`` and ``checkpoints/<run id>.pt``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self.checkpoints = folder / "checkpoints"

    def make(self) -> None:
        """Make the folders; raises `NoiseproofError` if they can't be written to."""
        for folder in (self.folder, self.runs, self.checkpoints):
            make_folder(folder)

    def finished(self) -> dict[str, Record]:
        """Read the records by run id; a damaged one is named in a warning and left out."""
        records = {}
        for path in sorted(self.runs.glob("*.json")):
            try:
                records[path.stem] = read_record(path)
            except NoiseproofError as error:
                warnings.warn(f"{error}; its run counts as not done", stacklevel=2)
        return records

    def under_way(self) -> dict[str, Checkpoint]:
        """Read the checkpoints by run id; a damaged one is named in a warning and left out."""
        checkpoints = {}
        for path in sorted(self.checkpoints.glob("*.pt")):
            try:
                checkpoints[path.stem] = load(path)
            except NoiseproofError as error:
                warnings.warn(f"{error}; its run starts afresh", stacklevel=2)
        return checkpoints

    def refuse_others(
        self, identity: Identity, finished: dict[str, Record], under_way: dict[str, Checkpoint]
    ) -> None:
        """Raise `NoiseproofError` if a run here differs from ``identity`` in more than its setting."""
        kept = [Identity(record.config, record.data.fingerprint) for record in finished.values()]
        kept += [Identity.parse(c.identity, where=f"checkpoint of {name}") for name, c in under_way.items()]
        for other in kept:
            differences = identity.differences(other)
            if differences:
                raise NoiseproofError(
                    f"{str(self.folder)!r} holds runs of another configuration ({'; '.join(differences)});"
                    " choose another --out"
                )

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

    def forget_checkpoint(self, run_id: str) -> None:
        """Remove the checkpoint of a run, if there is one."""
        (self.checkpoints / f"{run_id}.pt").unlink(missing_ok=True)
