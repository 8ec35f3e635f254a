"""The classifier is scikit-learn's in every check of its own, and trains as plain PyTorch does."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from torch import Tensor, nn

from noiseproof import losses
from noiseproof.errors import NoiseproofError
from noiseproof.estimator import NoiseTolerantClassifier
from noiseproof.models import MLP, ResNet18

Array = NDArray[Any]


def blobs(num_classes: int = 3) -> tuple[Array, Array]:
    """60 points of four features, the classes apart; float64, as scikit-learn's data are."""
    points, labels = make_blobs(60, 4, centers=num_classes, cluster_std=0.5, random_state=0)
    return points / 10, labels


X, Y = blobs()


def quick(loss: str | nn.Module = "nce+mae", **parameters: Any) -> NoiseTolerantClassifier:
    """A classifier that trains for a moment."""
    return NoiseTolerantClassifier(
        loss, **{"epochs": 3, "batch_size": 16, "module": nn.Linear, "random_state": 0, **parameters}
    )


def test_it_passes_every_check_of_scikit_learn() -> None:
    results = check_estimator(NoiseTolerantClassifier(epochs=5, batch_size=32), on_skip=None)
    assert len(results) > 40
    # what else it skips needs another array library
    assert {r["check_name"] for r in results if r["status"] != "passed"} <= {"check_array_api_input"}


@pytest.mark.parametrize("loss", ["ce", "nce+mae"])
def test_it_trains_as_a_plain_loop_does(loss: str) -> None:
    """A batch of all samples, so that their order does not matter."""
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    recipe = {"learning_rate": 0.2, "momentum": 0.5, "weight_decay": 0.01, "epochs": 6}
    trained = NoiseTolerantClassifier(loss, module=net, batch_size=len(X), **recipe).fit(X, Y)  # type: ignore[arg-type]

    features, target = torch.tensor(X, dtype=torch.float32), torch.tensor(Y)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.5, weight_decay=0.01)
    for epoch in range(6):
        optimizer.param_groups[0]["lr"] = 0.2 * (1 + np.cos(np.pi * epoch / 6)) / 2
        optimizer.zero_grad()
        value: Tensor = losses.parse(loss)(net(features), target)
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    expected = net(features).softmax(dim=1).detach().numpy()
    np.testing.assert_allclose(trained.predict_proba(X), expected, atol=1e-5)
    assert trained.score(X, Y) == np.mean(expected.argmax(axis=1) == Y)


def test_labels_may_be_text_and_features_named() -> None:
    names = np.array(["tern", "auk", "gull"])
    frame = pd.DataFrame(X, columns=list("abcd"))
    classifier = quick(epochs=30).fit(frame, pd.Series(names[Y], dtype="category"))
    assert list(classifier.classes_) == ["auk", "gull", "tern"]
    assert list(classifier.feature_names_in_) == list("abcd")
    assert classifier.score(frame, names[Y]) == 1
    likeliest = classifier.predict_proba(frame).argmax(axis=1)
    assert list(classifier.predict(frame)) == list(classifier.classes_[likeliest])


def test_two_classes_have_a_column_each() -> None:
    points, labels = blobs(2)
    classifier = quick(epochs=30).fit(points, labels == 1)
    assert classifier.predict_proba(points).shape == (60, 2)
    np.testing.assert_allclose(classifier.predict_proba(points).sum(axis=1), 1, rtol=1e-6)
    assert list(classifier.predict(points)) == list(labels == 1)


def test_predictions_come_in_the_order_of_the_samples() -> None:
    classifier = quick().fit(X, Y)
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_allclose(
        classifier.predict_proba(X)[order], classifier.predict_proba(X[order]), rtol=1e-5
    )


def with_dropout(num_features: int, num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Linear(num_features, 8), nn.Dropout(0.5), nn.Linear(8, num_classes))


@pytest.mark.parametrize("module", [None, with_dropout])
def test_a_seed_decides_everything_and_the_global_state_stays(module: Any) -> None:
    def states() -> tuple[Any, Any]:
        return torch.get_rng_state().tolist(), np.random.get_state(legacy=False)["state"]["key"].tolist()

    before = states()
    fitted = [quick(module=module, random_state=seed).fit(X, Y) for seed in (1, 1, 2, None, None)]
    first, again, other, *unseeded = [classifier.predict_proba(X) for classifier in fitted]
    assert states() == before
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(unseeded[0], unseeded[1])


def test_a_random_state_is_drawn_from() -> None:
    state = np.random.RandomState(0)
    first, second = (quick(random_state=state).fit(X, Y).predict_proba(X) for _ in range(2))
    again = quick(random_state=np.random.RandomState(0)).fit(X, Y).predict_proba(X)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)


def test_a_search_over_losses_networks_and_rates() -> None:
    grid = {
        "noisetolerantclassifier__loss": ["ce", losses.parse("nce+mae")],
        "noisetolerantclassifier__module": [MLP(hidden=(8,)), nn.Linear],
        "noisetolerantclassifier__learning_rate": np.array([1e-6, 0.3]),
        "noisetolerantclassifier__epochs": np.array([8]),
    }
    search = GridSearchCV(make_pipeline(StandardScaler(), quick()), grid, cv=2).fit(X, Y)
    assert search.best_params_["noisetolerantclassifier__learning_rate"] == 0.3
    assert search.best_score_ > 0.9
    assert cross_val_score(search.best_estimator_, X, Y, cv=2).mean() > 0.9


def test_a_clone_has_the_same_parameters_and_nothing_learned() -> None:
    classifier = quick(options={"verbose": 0}).fit(X, Y)
    copy = clone(classifier).set_params(loss="mae")
    assert copy.get_params() == {**classifier.get_params(), "loss": "mae"}
    assert not hasattr(copy, "net_")


def test_an_instance_is_trained_in_a_copy() -> None:
    net, weighted = nn.Linear(4, 3), losses.parse("ce", weight=torch.ones(3))
    before = net.weight.clone()
    classifier = quick(weighted, module=net).fit(X, Y)
    assert torch.equal(net.weight, before)
    assert not torch.equal(classifier.net_.module_.weight, before)
    assert classifier.net_.criterion_ is not weighted


def test_images_are_for_networks_of_images() -> None:
    images = np.zeros((8, 1, 8, 8)) + np.arange(8).reshape(8, 1, 1, 1) % 2
    for module in (ResNet18(width=2), MLP(hidden=(4,))):
        classifier = quick(module=module, epochs=1).fit(images, np.arange(8) % 2)
        assert classifier.predict_proba(images).shape == (8, 2)
    with pytest.raises(
        NoiseproofError, match=r"ResNet18 needs images X of shape \(N, C, H, W\), got \(N, 4\)"
    ):
        quick(module=ResNet18()).fit(X, Y)


def test_skorch_takes_the_rest() -> None:
    from skorch.callbacks import Callback

    class Rates(Callback):  # type: ignore[misc]
        seen: list[float] = []  # noqa: RUF012

        def on_epoch_begin(self, net: Any, **_: Any) -> None:
            self.seen.append(net.optimizer_.param_groups[0]["lr"])

    options = {"callbacks": [Rates], "optimizer": torch.optim.AdamW, "optimizer__betas": (0.8, 0.9)}
    net = quick(options=options, learning_rate=0.4, epochs=2).fit(X, Y).net_
    assert Rates.seen == pytest.approx([0.4, 0.2])  # annealed, as without options
    assert isinstance(net.optimizer_, torch.optim.AdamW)
    assert net.optimizer_.defaults["betas"] == (0.8, 0.9)
    assert len(net.history) == 2


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"loss": "ncee"}, "unknown loss 'ncee' at column 1; did you mean 'nce'?"),
        ({"loss": 3}, "a loss text must be a string such as 'nce.mae', got 3"),
        (
            {"loss": torch.nn.CrossEntropyLoss},
            r"loss must be a text or a module, not a class; CrossEntropyLoss\(\) makes a module",
        ),
        ({"epochs": 0}, "field 'epochs': input should be greater than or equal to 1, got 0"),
        ({"learning_rate": np.float64(-1)}, "field 'learning_rate': .* got -1.0"),
        ({"random_state": "seven"}, "random_state must be None, .* got 'seven'"),
        ({"random_state": -1}, "random_state must be None, .* got -1"),
        ({"device": "gpu"}, "device must be one that PyTorch finds here, such as 'cpu' or 'cuda', got 'gpu'"),
        ({"module": 3}, r"called as module\(4, 3\) to give one, got 3"),
        ({"module": lambda *_: None}, r"called as module\(4, 3\) to give one, got None"),
        ({"module": nn.Linear(4, 2)}, r"module must give logits \(N, 3\), for one sample it gave \(1, 2\)"),
        ({"options": {"lr": 1}}, "options must not have 'lr': set learning_rate itself"),
        ({"options": {"callback": []}}, "options: skorch has no 'callback'; did you mean 'callbacks'?"),
        ({"options": ["verbose"]}, r"options must be a mapping such as {'verbose': 1}, got \['verbose'\]"),
    ],
)
def test_a_wrong_parameter_is_named(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(NoiseproofError, match=message.replace("?", r"\?")):
        quick(**parameters).fit(X, Y)


def test_one_class_is_too_few() -> None:
    with pytest.raises(NoiseproofError, match="y must have 2 classes or more, got 1 class: auk"):
        quick().fit(X, ["auk"] * len(X))


def test_without_skorch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skorch", None)
    with pytest.raises(NoiseproofError, match=r"needs skorch: pip install 'noiseproof\[sklearn\]'"):
        quick().fit(X, Y)
