"""How a loss pulls at the true class as that becomes likelier: by the right label, and by a wrong one."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from noiseproof.certificates.values import Values, derivative

P = tuple(round(0.005 * i, 3) for i in range(1, 200))
"""Probabilities p_y of the true class, from 0.005 to 0.995; the other classes share the rest alike."""


@dataclass(frozen=True)
class Gradients:
    """Forces on the logit of the true class y, at each p_y of ``p``: those of `P`, and 1/K.

    ``right``: ``-dL(f(x), y)/dz_y``, how hard the right label pulls it up: small at small p_y, the loss
    underfits. ``wrong``: ``dL(f(x), k)/dz_y``, k != y, how hard a wrong label pushes it down: large at
    large p_y, the loss memorizes.
    """

    p: tuple[float, ...]
    right: tuple[float, ...]
    wrong: tuple[float, ...]

    def at(self, p: float) -> tuple[float, float]:
        """Give both forces at the nearest p_y that was computed."""
        i = min(range(len(self.p)), key=lambda i: abs(self.p[i] - p))
        return self.right[i], self.wrong[i]


def gradients(values: Values, num_classes: int) -> Gradients:
    """Compute both forces by autograd, in float64, for class 0 with the wrong label 1."""
    shown = tuple(sorted({*P, 1 / num_classes}))
    p = torch.tensor(shown, dtype=torch.float64)
    others = ((1 - p) / (num_classes - 1)).unsqueeze(1).expand(-1, num_classes - 1)
    logits = torch.cat([p.unsqueeze(1), others], 1).log().requires_grad_()
    given = values(logits)
    pulls = [derivative(given[:, k], logits)[:, 0] for k in (0, 1)]
    return Gradients(shown, tuple((0.0 - pulls[0]).tolist()), tuple(pulls[1].tolist()))
