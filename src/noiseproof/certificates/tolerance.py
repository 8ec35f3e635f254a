"""Up to which noise rates the lemmas promise that noise does not move the minimiser of the risk."""

from __future__ import annotations


def symmetric_rate(num_classes: int, *, constant_sum: bool, asymmetry: float | None) -> float:
    """Give the rate of symmetric noise below which the loss is noise tolerant; 0 if nothing promises it.

    A constant sum over labels promises ``(K - 1)/K`` (Lemma 1; Lemma 3 for sums of such losses). Otherwise an
    asymmetry ratio r > 0 does while the clean label outweighs each other one by 1/r: ``(1 - rate) r >
    rate / (K - 1)`` (Zhou et al., ICML 2021), over all functions, not over those of one network.

    >>> symmetric_rate(10, constant_sum=True, asymmetry=None)
    0.9
    >>> round(symmetric_rate(10, constant_sum=False, asymmetry=0.5), 3)
    0.818
    """
    if constant_sum:
        return (num_classes - 1) / num_classes
    ratio = asymmetry or 0.0
    return (num_classes - 1) * ratio / (1 + (num_classes - 1) * ratio)


def asymmetric_rate(
    num_classes: int, *, class_sum: float | None, lower: float, upper: float, asymmetry: float | None
) -> float:
    """Give the rate of noise that flips a class into one other, below which the loss is noise tolerant.

    For a loss that ranges over about 1. Where a function of no risk exists, a constant sum C promises 1/2 if
    the loss lies in ``[0, C/(K - 1)]`` (Lemma 2, whose condition ``eta_jk < 1 - eta_j`` says that the clean
    label stays the likeliest). An asymmetry ratio r promises ``r/(1 + r)``.

    >>> asymmetric_rate(10, class_sum=18.0, lower=0.0, upper=2.0, asymmetry=None)  # MAE
    0.5
    >>> asymmetric_rate(10, class_sum=1.0, lower=0.0, upper=1.0, asymmetry=None)  # NCE
    0.0
    """
    fits = class_sum is not None and abs(lower) < 1e-6 and upper <= class_sum / (num_classes - 1) + 1e-6
    ratio = asymmetry or 0.0
    return max(0.5 if fits else 0.0, ratio / (1 + ratio))
