"""The asymmetry ratio of a loss ``l(p_y)``: what pleasing the likelier of two labels pays at least."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from noiseproof.certificates.values import Values, derivative

Slope = Callable[[Tensor], Tensor]
"""``dl/d(log p)`` at each log p."""

LEAST_LOG_P = -600.0
"""Near the least log p whose p is a number in double precision; where the slope has a closed form."""

LEAST_LOG_P_BY_AUTOGRAD = -20.0
"""Below, the derivative of 1 - p by way of p - 1 has few digits left."""

NONE = 5e-3
"""A ratio below this counts as 0: slopes that grow as a logarithm leave as much at the least p."""

GRID = 200


def depends_on_label_alone(values: Values, num_classes: int) -> bool:
    """Tell whether the loss is one function of the label's probability, the same for every label.

    Looked at closely for the first few labels; that all are treated alike is seen by renaming each the next.
    """
    generator = torch.Generator().manual_seed(0)
    p_label = torch.linspace(0.02, 0.98, 25, dtype=torch.float64)
    sharpness = torch.linspace(0, 8, 20, dtype=torch.float64).unsqueeze(1)
    drawn = torch.rand(20, num_classes - 1, generator=generator, dtype=torch.float64) + 1e-3
    others = drawn**sharpness / (drawn**sharpness).sum(1, keepdim=True)
    rows = torch.stack([torch.cat([p[None], (1 - p) * other]) for p in p_label for other in others]).log()
    plain, renamed = values(rows), values(rows.roll(1, 1)).roll(-1, 1)
    if not _alike(torch.stack([plain, renamed]).flatten(1), 0, values.rounding):
        return False
    seen = []
    for label in range(min(num_classes, 4)):
        order = [*range(1, label + 1), 0, *range(label + 1, num_classes)]
        seen.append(values(rows[:, order])[:, label].reshape(len(p_label), len(others)))
    return _alike(torch.stack(seen), (0, 2), values.rounding)


def _alike(table: Tensor, dim: int | tuple[int, ...], rounding: float) -> bool:
    """Tell whether the values differ over ``dim`` by no more than rounding explains."""
    sizes = table.abs().amax(dim)
    spread = table.amax(dim) - table.amin(dim)
    return bool((spread <= rounding * sizes.clamp(min=1e-6 * sizes.max().item())).all())


def asymmetry_ratio(values: Values, num_classes: int, slope: Slope | None = None) -> float:
    """Give ``inf (l(u) - l(u + v)) / (l(0) - l(v))`` over u, v >= 0, u + v <= 1, of a loss ``l(p_y)``.

    Over a grid of u and v, and in the limit v -> 0, where it is a quotient of slopes. 0 unless the loss falls
    with p: the quotient of two rises says nothing. Zhou et al., ICML 2021.
    """
    grid = torch.linspace(0, 1, GRID + 1, dtype=torch.float64)
    level, _ = _of_p(values, grid.log().clamp(min=LEAST_LOG_P, max=-1e-12), num_classes)
    if not _falls(level, values.rounding):
        return 0.0
    rows, columns = torch.meshgrid(torch.arange(GRID + 1), torch.arange(1, GRID + 1), indexing="ij")
    fits = rows + columns <= GRID
    u, v = rows[fits], columns[fits]
    ratios = (level[u] - level[u + v]) / (level[0] - level[v])
    least = LEAST_LOG_P_BY_AUTOGRAD if slope is None else LEAST_LOG_P
    # nearer to 1 than that, 1 - p would have few digits
    log_p = -torch.logspace(math.log10(10 * values.rounding), math.log10(-least), GRID, dtype=torch.float64)
    slopes = _of_p(values, log_p, num_classes)[1] if slope is None else slope(log_p) * torch.exp(-log_p)
    if bool((slopes > 1e-6 * slopes.abs().max()).any()):
        return 0.0
    limits = slopes / slopes[-1]
    ratio = torch.cat([ratios, limits]).nan_to_num(torch.inf).min().item()
    return 0.0 if ratio < NONE else ratio


def _falls(level: Tensor, rounding: float) -> bool:
    """Tell whether l nowhere rises with p, and is not constant; infinite at p = 0 at most."""
    finite = level[1:] if bool(level[0] == torch.inf) else level
    slack = rounding * finite.abs().max()
    return bool((finite.diff() <= slack).all() and level[0] - level[-1] > slack)


def _of_p(values: Values, log_p: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Give ``l`` and ``dl/dp`` at ``p_y = exp(log_p)``, the other classes alike."""
    log_rest = torch.log(-torch.expm1(log_p))  # log(1 - p)
    z = (log_p - log_rest + math.log(num_classes - 1)).requires_grad_()
    logits = torch.cat([z.unsqueeze(1), torch.zeros(len(z), num_classes - 1, dtype=torch.float64)], 1)
    level = values(logits)[:, 0]
    return level.detach(), derivative(level, z) * torch.exp(-log_p - log_rest)  # dp/dz = p (1 - p)
