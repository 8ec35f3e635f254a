"""``noiseproof losses``: the catalogue."""

from __future__ import annotations

from noiseproof.cli.options import Classes
from noiseproof.errors import NoiseproofError


def losses(classes: Classes = 10) -> None:
    """List every loss with what is known of it."""
    from noiseproof.cli.display import show_losses

    if classes < 2:
        raise NoiseproofError(f"--classes must be at least 2, got {classes}")
    show_losses(classes)
