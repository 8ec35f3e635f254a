"""A scikit-learn classifier that tolerates wrong labels; skorch does the training."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import Tensor, nn

from noiseproof.errors import NoiseproofError, did_you_mean, one_line
from noiseproof.losses import parse
from noiseproof.models import MLP, Network, global_randomness
from noiseproof.training import Recipe

__all__ = ["NoiseTolerantClassifier"]

Floats = NDArray[np.float32]

OURS = {
    "module": "module",
    "criterion": "loss",
    "max_epochs": "epochs",
    "batch_size": "batch_size",
    "lr": "learning_rate",
    "device": "device",
}
"""skorch's arguments that are arguments here, by the names that they have here."""


class NoiseTolerantClassifier(ClassifierMixin, BaseEstimator):
    """A network as a scikit-learn classifier, trained with a loss that tolerates wrong labels.

    For `sklearn.pipeline.Pipeline`, `cross_val_score`, `GridSearchCV` and all else that takes a classifier.
    Training is the bench's own recipe: SGD, its learning rate annealed to 0 along a cosine.

    Once fitted it has ``classes_`` ``(C,)``, ``n_features_in_``, ``feature_names_in_`` if X has names, and
    ``net_``, the trained `skorch.NeuralNetClassifier` with its ``history`` and ``module_``.

    Args:
        loss: text such as ``"nce+mae"``, or any module ``(logits, target) -> scalar``.
        module: the network. None is a multilayer perceptron of 256 hidden units; a network of
            `noiseproof.models`, such as ``MLP(hidden=(64, 64))``, is built for the data; anything callable is
            called as ``module(X.shape[1], num_classes)``, as `torch.nn.Linear` can be; an instance of
            `torch.nn.Module` is trained from the weights that it has, in a copy. It maps float32
            ``(N, ...)`` to logits ``(N, C)``.
        epochs: how often the training data are gone through, annealing included.
        batch_size: samples of a step.
        learning_rate: of the first epoch.
        momentum: of SGD.
        weight_decay: of the optimizer.
        device: where to train, such as ``"cuda"``.
        random_state: an int, or a `numpy.random.RandomState` to draw one from; None trains differently every
            time. PyTorch's and numpy's global random states are left as they were.
        options: anything else of `skorch.NeuralNetClassifier`, such as ``{"verbose": 1}``,
            ``{"callbacks": [...]}`` or ``{"optimizer": torch.optim.AdamW}``; another optimizer than SGD gets
            no ``momentum``.

    Raises:
        NoiseproofError: from `fit`, when a parameter is not as above, or skorch is not installed.

    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> classifier = NoiseTolerantClassifier("nce+mae", epochs=10, random_state=0).fit(X / 16, y)
    >>> classifier.score(X / 16, y) > 0.9
    True
    >>> classifier.predict_proba(X[:3] / 16).shape
    (3, 10)
    """

    def __init__(
        self,
        loss: str | nn.Module = "nce+mae",
        *,
        module: Network | nn.Module | Callable[[int, int], nn.Module] | None = None,
        epochs: int = 50,
        batch_size: int = 128,
        learning_rate: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.loss = loss
        self.module = module
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.device = device
        self.random_state = random_state
        self.options = options

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train a fresh network on X ``(N, ...)`` and labels y ``(N,)`` of any kind, two classes or more."""
        settings, seed = self._settings(), _seed(self.random_state)
        features, labels = self._validated(X, y)
        self.classes_, target = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise NoiseproofError(f"y must have 2 classes or more, got 1 class: {self.classes_[0]}")
        with global_randomness(seed):
            network = self._network(features.shape[1:], len(self.classes_), seed=seed)
            _check_logits(network, features, len(self.classes_))
            settings["module"] = network
            self.net_ = _skorch().NeuralNetClassifier(**settings).fit(features, target.astype(np.int64))
        return self

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Give the probabilities ``(N, C)`` of the classes in the order of ``classes_``."""
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        features = self._validated(X)
        with global_randomness(0):  # a DataLoader draws globally even where it shuffles nothing
            return cast(Floats, self.net_.predict_proba(features))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Give the likeliest label ``(N,)`` of each sample."""
        likeliest = self.predict_proba(X).argmax(axis=1)
        return cast("NDArray[Any]", self.classes_[likeliest])

    def _settings(self) -> dict[str, Any]:
        """Everything of skorch's net but the network; raises before any work if a parameter is wrong."""
        recipe = self._recipe()
        options = _checked_options(self.options)
        _check_device(self.device)
        optimizer = options.get("optimizer", torch.optim.SGD)
        momentum = {"optimizer__momentum": recipe.momentum} if optimizer is torch.optim.SGD else {}
        annealing = _skorch().callbacks.LRScheduler("CosineAnnealingLR", T_max=recipe.epochs)
        return {
            "criterion": self._criterion(),
            "max_epochs": recipe.epochs,
            "batch_size": recipe.batch_size,
            "lr": recipe.learning_rate,
            "optimizer": optimizer,
            "optimizer__weight_decay": recipe.weight_decay,
            "device": self.device,
            "iterator_train__shuffle": True,
            "predict_nonlinearity": _softmax,
            "train_split": None,
            "verbose": 0,
            **momentum,
            **options,
            "callbacks": [("annealing", annealing), *(options.get("callbacks") or [])],
        }

    def _criterion(self) -> nn.Module:
        if isinstance(self.loss, nn.Module):
            return copy.deepcopy(self.loss)
        if isinstance(self.loss, type) and issubclass(self.loss, nn.Module):
            made = f"{self.loss.__name__}() makes a module"
            raise NoiseproofError(f"loss must be a text or a module, not a class; {made}")
        return parse(self.loss)

    def _recipe(self) -> Recipe:
        fields = ("epochs", "batch_size", "learning_rate", "momentum", "weight_decay")
        values = {name: getattr(self, name) for name in fields}
        # a search over numpy's ranges brings numpy's numbers
        values = {name: v.item() if isinstance(v, np.generic) else v for name, v in values.items()}
        return Recipe.read({**values, "crop_padding": 0, "flip": False}, where="NoiseTolerantClassifier")

    def _validated(self, X: ArrayLike, *y: ArrayLike) -> Any:
        """Return X as finite float32 of the width that was fitted; with y, both, and remember the width."""
        from sklearn.utils.multiclass import check_classification_targets
        from sklearn.utils.validation import validate_data

        checked = validate_data(self, X, *y, reset=bool(y), dtype=np.float32, allow_nd=True)
        if y:
            check_classification_targets(checked[1])
        return checked

    def _network(self, shape: tuple[int, ...], num_classes: int, *, seed: int) -> nn.Module:
        module = MLP() if self.module is None else self.module
        if isinstance(module, nn.Module):
            return copy.deepcopy(module)
        if isinstance(module, Network):
            if not isinstance(module, MLP) and len(shape) != 3:
                given = ("N", *map(str, shape))
                raise NoiseproofError(
                    f"{type(module).__name__} needs images X of shape (N, C, H, W), got ({', '.join(given)})"
                )
            image_shape = shape if len(shape) == 3 else (math.prod(shape), 1, 1)
            return module.initialized(image_shape, num_classes, seed=seed)
        network = module(shape[0], num_classes) if callable(module) else module
        if not isinstance(network, nn.Module):
            raise NoiseproofError(
                "module must be a network of noiseproof.models, a torch.nn.Module, or be called as"
                f" module({shape[0]}, {num_classes}) to give one, got {one_line(repr(network))}"
            )
        return network


@torch.no_grad()
def _check_logits(network: nn.Module, features: Floats, num_classes: int) -> None:
    logits = network.cpu().eval()(torch.from_numpy(features[:1]))
    given = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if given != (1, num_classes):
        raise NoiseproofError(f"module must give logits (N, {num_classes}), for one sample it gave {given}")


def _softmax(logits: Tensor) -> Tensor:
    return logits.softmax(dim=1)


def _seed(random_state: Any) -> int:
    if random_state is None:
        return int(np.random.default_rng().integers(2**31))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    whole = isinstance(random_state, int | np.integer) and not isinstance(random_state, bool)
    if not whole or not 0 <= random_state < 2**32:
        raise NoiseproofError(
            "random_state must be None, a numpy.random.RandomState or an integer from 0 to 2**32 - 1,"
            f" got {one_line(repr(random_state))}"
        )
    return int(random_state)


def _skorch() -> ModuleType:
    try:
        import skorch.callbacks
    except ModuleNotFoundError as error:
        if error.name != "skorch":
            raise
        raise NoiseproofError(
            "NoiseTolerantClassifier needs skorch: pip install 'noiseproof[sklearn]'"
        ) from None
    return cast(ModuleType, skorch)


def _checked_options(options: Any) -> dict[str, Any]:
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise NoiseproofError(
            f"options must be a mapping such as {{'verbose': 1}}, got {one_line(repr(options))}"
        )
    known = inspect.signature(_skorch().NeuralNet).parameters.keys() - {"kwargs", *OURS}
    for name in options:
        if name in OURS:
            raise NoiseproofError(f"options must not have {name!r}: set {OURS[name]} itself")
        if "__" not in name and name not in known:  # what has two underscores skorch checks
            raise NoiseproofError(f"options: skorch has no {name!r}; {did_you_mean(name, sorted(known))}")
    return dict(options)


def _check_device(device: Any) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError):
        raise NoiseproofError(
            f"device must be one that PyTorch finds here, such as 'cpu' or 'cuda', got {device!r}"
        ) from None
