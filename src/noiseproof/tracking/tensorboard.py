"""Every epoch of every run, for TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from noiseproof.errors import NoiseproofError
from noiseproof.files import make_folder
from noiseproof.study import RunConfiguration
from noiseproof.training import History


class TensorBoard:
    """A tracker: ``conduct(study, out, on_epoch=TensorBoard(folder))``, then ``tensorboard --logdir folder``.

    A run has a folder of its own id, with a point for each epoch, from 1 on, of every field of its `History`
    that is defined there. A run that goes on after it was stopped writes its epochs from the first one again
    and has TensorBoard drop those before, so no epoch is there twice, and none is missing.

    Raises `NoiseproofError` if TensorBoard is not installed or the folder can't be written to.
    """

    def __init__(self, folder: Path | str) -> None:
        try:
            import tensorboard  # noqa: F401
        except ImportError:
            raise NoiseproofError(
                "TensorBoard is not installed: pip install 'noiseproof[tensorboard]'"
            ) from None
        self.folder = make_folder(Path(folder)).resolve()  # on a cluster it is a node that writes there
        self._writers: dict[str, Any] = {}

    def __call__(self, config: RunConfiguration, history: History) -> None:
        """Write the run's latest epoch; at the first call for a run, every epoch so far."""
        from torch.utils.tensorboard import SummaryWriter

        first = 1 if config.id not in self._writers else len(history)
        if config.id not in self._writers:
            self._writers[config.id] = SummaryWriter(self.folder / config.id, purge_step=first)
        writer = self._writers[config.id]
        for name, values in history:
            for epoch, value in enumerate(values[first - 1 :], first):
                if value is not None:
                    writer.add_scalar(name, value, epoch)
        writer.flush()
        if len(history) == config.recipe.epochs:
            self._writers.pop(config.id).close()
