"""Loss correction: any loss, told by a transition matrix how the labels were flipped."""

from __future__ import annotations

from abc import abstractmethod
from typing import Unpack

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from noiseproof import noise as label_noise
from noiseproof.errors import NoiseproofError
from noiseproof.losses.base import Loss, Properties, check_is_loss, check_part
from noiseproof.losses.evaluation import Options, rows_of
from noiseproof.losses.formula import Formula, OnLabel, Plain

WORST_CONDITION = 1e6
"""Condition number of a transition matrix beyond which its inverse would be mostly rounding."""


class CorrectedLoss(Loss):
    """A loss with a transition matrix ``T[i, j] = P(noisy = j | clean = i)``, ``(K, K)`` or text."""

    def __init__(
        self, loss: Loss, noise: ArrayLike | str, *, classes: str | None = None, **options: Unpack[Options]
    ) -> None:
        super().__init__(**options)
        check_is_loss(loss, to_be="corrected")
        check_part(loss, self)
        self.loss = loss
        self.noise: str | NDArray[np.float64]
        if isinstance(noise, str):
            self.noise = str(_setting(noise, classes))
        elif classes is not None:
            raise NoiseproofError(f"a transition matrix needs no classes, got {classes!r}")
        else:
            given = noise.detach().cpu() if isinstance(noise, Tensor) else noise
            self.noise = label_noise.check_transition_matrix(given).copy()
        self.classes = classes
        self._matrices: dict[tuple[int, torch.dtype, torch.device], Tensor] = {}

    def transition_matrix(self, num_classes: int) -> NDArray[np.float64]:
        """Give T for ``num_classes`` classes; raises `NoiseproofError` if a given matrix has another size."""
        if isinstance(self.noise, str):
            setting, mapping = label_noise.parse(self.noise), {}
            if self.classes is not None:
                mapping = dict(label_noise.class_map(self.classes))
            return setting.transition_matrix(num_classes, mapping)
        if len(self.noise) != num_classes:
            raise NoiseproofError(
                f"the transition matrix is for {len(self.noise)} classes, the logits have {num_classes}"
            )
        return self.noise

    @abstractmethod
    def prepared(self, num_classes: int) -> NDArray[np.float64]:
        """Give what the loss computes with, made of T."""

    def matrix(self, log_p: Tensor) -> Tensor:
        """Give `prepared` for log_p's classes, dtype and device; made once for each."""
        matrix: Tensor = self._matrix(log_p.shape[-1], log_p.dtype, log_p.device)
        return matrix

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # a constant; no compiler could follow
    def _matrix(self, num_classes: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        key = num_classes, dtype, device
        if key not in self._matrices:
            with torch.inference_mode(False):  # else a training that follows could not use it
                self._matrices[key] = torch.tensor(self.prepared(num_classes), dtype=dtype, device=device)
        return self._matrices[key]

    @property
    def hyperparameters(self) -> dict[str, float]:
        """The hyperparameters of the loss that is corrected."""
        return self.loss.hyperparameters

    @property
    def label(self) -> str:
        """The name as tables print it, such as ``FORWARD(CE, symmetric:0.4)``."""
        return f"{self.name.upper()}({self.loss.label}, {self._noise_text})"

    def __str__(self) -> str:
        """The loss as text, such as ``forward(ce, noise='symmetric:0.4')`` where noise is text."""
        classes = "" if self.classes is None else f", classes={self.classes!r}"
        text = repr(self.noise) if isinstance(self.noise, str) else self._noise_text
        return f"{self.name}({self.loss}, noise={text}{classes})"

    @property
    def _noise_text(self) -> str:
        return self.noise if isinstance(self.noise, str) else f"<{len(self.noise)}x{len(self.noise)} matrix>"


class ForwardCorrection(CorrectedLoss):
    """Forward correction: ``L(T' p, y)``, the loss of the predicted noisy label; p predicts clean ones.

    Args:
        loss: the `Loss` to correct, CE in the paper; its own ``reduction`` is not used.
        noise: the transition matrix ``(K, K)``, row-stochastic, or its text, such as ``symmetric:0.4``.
        classes: for ``asymmetric``, the class map by name, such as ``cifar10``.
        options: reduction, ignore_index, weight; see `Loss`.

    Raises:
        NoiseproofError: the noise is no transition matrix, or one for another number of classes.

    For a loss that depends on p_y alone the cost is one more pass over the logits, else K of them. Patrini et
    al., CVPR 2017, Theorem 2.

    >>> import torch
    >>> from noiseproof.losses import CrossEntropy
    >>> loss = ForwardCorrection(CrossEntropy(), "symmetric:0.4")
    >>> loss
    forward(ce, noise='symmetric:0.4')
    >>> round(loss(torch.tensor([[100.0, 0.0, 0.0]]), torch.tensor([0])).item(), 4)  # -log 0.6
    0.5108
    """

    name = "forward"
    title = "forward correction"
    equation = "L(T' p, y)"
    source = "Patrini et al., CVPR 2017, Theorem 2"

    def prepared(self, num_classes: int) -> NDArray[np.float64]:
        """Give log T, in which a 0 is minus infinity."""
        with np.errstate(divide="ignore"):
            return np.log(self.transition_matrix(num_classes))

    def formula(self) -> Formula:
        """Give `per_sample`, and for probabilities what the loss itself defines."""
        return Plain(self.per_sample, self._soft)

    def per_sample(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Evaluate the loss at the probabilities of the noisy labels."""
        inner = self.loss.formula()
        if isinstance(inner, OnLabel):
            columns = rows_of(self.matrix(log_p).T, target)  # log T[k, y], (..., C)
            return inner.value(torch.logsumexp(log_p + columns, -1))
        return self.loss.per_sample(self._noisy(log_p), target)

    def per_class(self, log_p: Tensor) -> Tensor:
        """Evaluate the loss for every class at the probabilities of the noisy labels."""
        return self.loss.per_class(self._noisy(log_p))

    def class_terms(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give the loss's terms at the probabilities of the noisy labels."""
        return self.loss.class_terms(self._noisy(log_p), target)

    def properties(self, num_classes: int) -> Properties:
        """Those of the loss, whose bounds need not be attained any more."""
        self.transition_matrix(num_classes)
        known = self.loss.properties(num_classes)
        return Properties(known.kind, known.lower, known.upper, known.class_sum)

    def _soft(self, log_p: Tensor, q: Tensor) -> Tensor:
        return self.loss.formula().soft(self._noisy(log_p), q)

    def _noisy(self, log_p: Tensor) -> Tensor:
        """Give ``log (T' p)_j``: in log space, where small probabilities keep their digits."""
        return torch.logsumexp(log_p.unsqueeze(-1) + self.matrix(log_p), -2)


class BackwardCorrection(CorrectedLoss):
    """Backward correction: ``sum_j T^-1[y, j] L(f(x), j)``, whose mean over the noise is the clean loss.

    Args:
        loss: the `Loss` to correct, CE in the paper; its own ``reduction`` is not used.
        noise: the transition matrix ``(K, K)``, row-stochastic and invertible, or its text.
        classes: for ``asymmetric``, the class map by name, such as ``cifar10``.
        options: reduction, ignore_index, weight; see `Loss`.

    Raises:
        NoiseproofError: the noise is no transition matrix, one for another number of classes, or singular.

    Unbiased, but unbounded below wherever the loss is unbounded above. Patrini et al., CVPR 2017, Theorem 1.

    >>> import torch
    >>> from noiseproof.losses import CrossEntropy
    >>> loss = BackwardCorrection(CrossEntropy(), [[0.75, 0.25], [0.25, 0.75]])
    >>> loss
    backward(ce, noise=<2x2 matrix>)
    >>> round(loss(torch.tensor([[2.0, 0.0]]), torch.tensor([0])).item(), 4)  # 1.5 * 0.1269 - 0.5 * 2.1269
    -0.8731
    """

    name = "backward"
    title = "backward correction"
    equation = "sum_j T^-1[y, j] L(f(x), j)"
    source = "Patrini et al., CVPR 2017, Theorem 1"

    def prepared(self, num_classes: int) -> NDArray[np.float64]:
        """Give the inverse of T."""
        transition_matrix = self.transition_matrix(num_classes)
        if not np.linalg.cond(transition_matrix) < WORST_CONDITION:
            raise NoiseproofError(
                f"backward correction needs an invertible transition matrix, but {self._noise_text}"
                f" for {num_classes} classes is (nearly) singular"
            )
        inverse: NDArray[np.float64] = np.linalg.inv(transition_matrix).astype(np.float64)
        return inverse

    def per_sample(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Weigh the losses of all classes by the label's row of the inverse."""
        return self.class_terms(log_p, target).sum(-1)

    def per_class(self, log_p: Tensor) -> Tensor:
        """Weigh the losses of all classes by each row of the inverse."""
        return _weighted(self.matrix(log_p), self.loss.per_class(log_p).unsqueeze(-2)).sum(-1)

    def class_terms(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give the weighted loss of each class."""
        return _weighted(rows_of(self.matrix(log_p), target), self.loss.per_class(log_p))

    def properties(self, num_classes: int) -> Properties:
        """Passive where T flips anything; bounds are promises: those of each class's loss by itself."""
        inverse, known = self.prepared(num_classes), self.loss.properties(num_classes)
        with np.errstate(invalid="ignore"):  # 0 times infinity, which the choice drops
            ends = np.where(inverse == 0, 0.0, [inverse * known.lower, inverse * known.upper])
        columns = inverse.sum(axis=0)
        flips = (inverse[~np.eye(num_classes, dtype=bool)] != 0).any()
        class_sum = None
        if known.class_sum is not None and np.allclose(columns, columns[0], rtol=1e-9):
            class_sum = float(columns[0]) * known.class_sum
        return Properties(
            kind="passive" if flips or known.kind == "passive" else "active",
            lower=float(ends.min(axis=0).sum(axis=1).min()),
            upper=float(ends.max(axis=0).sum(axis=1).max()),
            class_sum=class_sum,
        )


def _weighted(weights: Tensor, values: Tensor) -> Tensor:
    # where, not a product: a weight of 0 leaves out an infinite loss
    return torch.where(weights == 0, 0, weights * values)


def _setting(text: str, classes: str | None) -> label_noise.Noise:
    setting = label_noise.parse(text)
    if setting.kind not in label_noise.MATRICES:
        raise NoiseproofError(
            f"{setting} noise has no transition matrix to correct by; expected one of"
            f" {', '.join(label_noise.MATRICES)}, or a matrix"
        )
    if classes is not None:
        label_noise.class_map(classes)
    elif setting.kind == "asymmetric":
        raise NoiseproofError(
            f"asymmetric noise needs its class map, such as classes='cifar10'; known are"
            f" {', '.join(label_noise.CLASS_MAPS)}"
        )
    return setting
