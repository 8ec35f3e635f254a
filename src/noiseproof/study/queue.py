"""What is left of a study, shared with whoever else is at work on its folder."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from noiseproof.study.archive import Archive
from noiseproof.study.group import Group, PendingRun, groups
from noiseproof.study.record import Record


class Queue:
    """Runs without a record, of which a process takes one group after another, for itself alone.

    Args:
        archive: the folder; its locks say who has which run.
        runs: what is to be done.
        unfit: records, by run id, that count as none.
        total_steps: training steps of a run.
        at_once: runs in a group, at most.
    """

    def __init__(
        self,
        archive: Archive,
        runs: Sequence[PendingRun],
        unfit: Mapping[str, Record],
        *,
        total_steps: int,
        at_once: int,
    ) -> None:
        self._archive = archive
        self._runs = list(runs)
        self._unfit = unfit
        self._total_steps = total_steps
        self._at_once = at_once
        self._taken: deque[Group] = deque()
        self._step: dict[str, int] = {}

    def runs_left(self) -> int:
        """Count the runs that nobody has recorded so far."""
        recorded = self._archive.finished()
        # the same record as at the start counts as none; a new one does not, whoever wrote it
        self._runs = [
            run
            for run in self._runs
            if (record := recorded.get(run.config.id)) is None or record is self._unfit.get(run.config.id)
        ]
        return len(self._runs)

    @property
    def steps_left(self) -> int:
        """Training steps left, whoever does them, each of one run, as far as that is known here."""
        return sum(self._total_steps - self._step.get(run.config.id, 0) for run in self._runs)

    def take(self) -> Group | None:
        """Take the next group; None if all that is left is under way elsewhere."""
        if not self._taken:
            self._taken.extend(self._free()[:1])
        return self._taken.popleft() if self._taken else None

    def put_first(self, parts: Iterable[Group]) -> None:
        """Put back what was taken, in parts; it stays with this process, and comes next."""
        self._taken.extendleft(reversed(list(parts)))
        self._note(self._taken)

    def _free(self) -> list[Group]:
        """Cut all that is free into groups, and keep the first one."""
        locks = self._archive.locks
        held = [run for run in self._runs if locks.take(run.config.id)]
        # whoever had a run may have recorded it, or saved it, just before letting it go
        self._archive.refresh()
        self.runs_left()
        left = set(self._runs)
        for run in held:
            if run not in left:
                locks.give_back(run.config.id, recorded=True)
        free = [run for run in held if run in left]
        cut = list(groups(free, self._archive.under_way(run.config.id for run in free), self._at_once))
        self._note(cut)
        for group in cut[1:]:
            for run in group.runs:
                locks.give_back(run.config.id)
        return cut

    def _note(self, parts: Iterable[Group]) -> None:
        self._step |= {run.config.id: group.step for group in parts for run in group.runs}
