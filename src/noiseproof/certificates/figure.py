"""The picture that explains underfitting and memorization: the forces on the true class's logit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from noiseproof.certificates.certificate import Certificate
from noiseproof.errors import NoiseproofError, did_you_mean

FORMATS = ("png", "svg", "pdf")


def draw_gradients(certificates: Sequence[Certificate], path: Path) -> None:
    """Draw ``right`` and ``wrong`` of each certificate's `Gradients` over p_y, side by side.

    The file's ending says the format: png, svg or pdf.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_format(path)
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    right, wrong = figure.subplots(1, 2, sharey=True)
    for certificate in certificates:
        forces = certificate.gradients
        right.plot(forces.p, forces.right, label=certificate.loss)
        wrong.plot(forces.p, forces.wrong, label=certificate.loss)
    right.set_title("its right label pulls it up", fontsize=10)
    wrong.set_title("a wrong label pushes it down", fontsize=10)
    right.set_ylabel("force on the true class's logit", fontsize=9)
    for axes in (right, wrong):
        axes.set_xlabel("probability of the true class", fontsize=9)
        axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
        axes.grid(color="0.93")
        axes.tick_params(labelsize=8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    right.legend(fontsize=8, frameon=False)
    # a date in the file would make each drawing another one
    kept = {"svg": {"Date": None}, "png": {}, "pdf": {"CreationDate": None}}[path.suffix[1:].lower()]
    figure.savefig(path, dpi=110, metadata=kept)


def check_format(path: Path) -> None:
    """Raise `NoiseproofError` unless the path's ending is one of `FORMATS`."""
    ending = path.suffix[1:].lower()
    if ending not in FORMATS:
        raise NoiseproofError(
            f"a figure must end in .png, .svg or .pdf, got {path.name!r}; {did_you_mean(ending, FORMATS)}"
        )
