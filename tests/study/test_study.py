"""Studies: what the built-in ones hold, how one is loaded, and how a slip of the pen is answered."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from noiseproof import losses, noise
from noiseproof.errors import NoiseproofError
from noiseproof.models import CNN4, CNN8, MLP, Network, ResNet18, ResNet34
from noiseproof.report import published
from noiseproof.study import Study, built_in_studies, load_study
from noiseproof.training import Recipe

OWN = """
title = "My own"
data = "digits"
losses = ["ce", "2*nfl(gamma=2) + mae"]
noises = ["symmetric:0.2", "none"]
seeds = [3, 1]

[model]
name = "mlp"
hidden = [8, 4]

[recipe]
epochs = 2
flip = false
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    """Writes a study file and gives its path."""

    def written(text: str) -> str:
        path = tmp_path / "own.toml"
        path.write_text(text)
        return str(path)

    return written


def refusal(load: Callable[[], object]) -> str:
    with pytest.raises(NoiseproofError) as refused:
        load()
    message = str(refused.value)
    assert message.isprintable()  # so it is one line
    return message


# ------------------------------------------------------------------------------------------ built-in

RATES = {"symmetric": (0.2, 0.4, 0.6, 0.8), "asymmetric": (0.1, 0.2, 0.3, 0.4)}


MA2020 = {"ma2020_mnist": "mnist", "ma2020_cifar10": "cifar10", "ma2020_cifar100": "cifar100"}
"""The protocols of Ma et al., ICML 2020, and their data sets."""


def test_these_studies_come_with_the_package() -> None:
    assert built_in_studies() == sorted(["cifar10", "cifar10n", "cifar10n_cnn4", "digits", "smoke", *MA2020])


@pytest.mark.parametrize(("name", "seeds", "runs"), [("digits", (0, 1, 2), 192), ("cifar10", (0,), 64)])
def test_the_studies_ask_what_the_tables_answer(name: str, seeds: tuple[int, ...], runs: int) -> None:
    study = load_study(name)
    assert study.data == name
    assert tuple(losses.parse(text).label for text in study.losses) == published().losses
    expected = {noise.Noise(kind, rate) for kind, rates in RATES.items() for rate in rates}
    assert {noise.parse(text) for text in study.noises} == expected == set(published().noises)
    assert study.seeds == seeds
    assert len(study.runs()) == runs


def test_cifar10_is_trained_as_in_the_study() -> None:
    study = load_study("cifar10")
    assert study.model == ResNet18(width=64, stem="cifar")
    assert study.recipe.model_dump() == {
        "epochs": 50,
        "batch_size": 128,
        "learning_rate": 0.01,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "crop_padding": 4,
        "flip": True,
        "l1": 0.0,
        "clip_norm": None,
        "final_learning_rate": 0.0,
    }
    assert study.recipe == Recipe()  # which are the defaults


def test_the_studys_losses_have_its_hyperparameters() -> None:
    assert load_study("cifar10").losses == tuple(
        str(losses.parse(text))
        for text in (
            "ce",
            "fl(gamma=0.5)",
            "nce",
            "nfl(gamma=0.5)",
            "nfl(gamma=0.5) + mae",
            "nfl(gamma=0.5) + rce(A=-4)",
            "nce + mae",
            "nce + rce(A=-4)",
        )
    )


@pytest.mark.parametrize(
    ("name", "model", "recipe"),
    [
        (
            "ma2020_mnist",
            CNN4(),
            {
                "epochs": 50,
                "final_learning_rate": 0.001,
                "weight_decay": 1e-3,
                "crop_padding": 0,
                "flip": False,
            },
        ),
        ("ma2020_cifar10", CNN8(), {"epochs": 120}),
        (
            "ma2020_cifar100",
            ResNet34(initial="he"),
            {"epochs": 200, "learning_rate": 0.1, "weight_decay": 1e-5},
        ),
    ],
)
def test_the_protocols_of_ma_et_al(name: str, model: Network, recipe: dict[str, Any]) -> None:
    study = load_study(name)
    assert (study.data, study.model, study.seeds) == (MA2020[name], model, (0, 1, 2))
    shared = {"batch_size": 128, "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 1e-4, "clip_norm": 5}
    assert study.recipe == Recipe(**shared | {"crop_padding": 4, "flip": True} | recipe)
    assert {noise.parse(text) for text in study.noises} == set(published().noises)
    assert len(study.runs()) == 12 * 8 * 3


def test_human_labels_have_the_studys_losses_network_and_recipe() -> None:
    people, drawn = load_study("cifar10n"), load_study("cifar10")
    assert people.noises == ("human:aggregate", "human:random1", "human:worst")
    assert people.model_copy(update={"noises": drawn.noises, "title": drawn.title}) == drawn


def losses_of_ma_et_al(p: Tensor, p_y: Tensor, of: str) -> list[Tensor]:
    """Their code's values for their configs/ of a data set, in the order of its study."""

    def focal(p: Tensor) -> Tensor:
        return -((1 - p) ** 0.5) * p.log()

    ce, fl, gce, mae = -p_y.log(), focal(p_y), (1 - p_y**0.7) / 0.7, 1 - p_y
    nce, nfl = p_y.log() / p.log().sum(1), fl / focal(p).sum(1)
    rce = (p.sum(1) - p_y) * -math.log(1e-4)
    # SCE's alpha and beta; the scales of NCE and NFL; alpha and beta of the pairs with MAE and with RCE
    (a, b), scale, scale_fl, mae_pair, rce_pair = {
        "ma2020_mnist": ((0.01, 1), 10, 1, (1, 10), (1, 10)),
        "ma2020_cifar10": ((0.1, 1), 1, 10, (1, 1), (1, 1)),
        "ma2020_cifar100": ((6, 0.1), 1, 1, (10, 1), (10, 0.1)),
    }[of]
    pairs = [
        alpha * active + beta * passive
        for active in (nfl, nce)
        for (alpha, beta), passive in ((mae_pair, mae), (rce_pair, rce))
    ]
    return [ce, fl, gce, a * ce + b * rce, mae, rce, scale * nce, scale_fl * nfl, *pairs]


@pytest.mark.parametrize("name", MA2020)
def test_the_losses_of_ma_et_al_have_their_values(name: str) -> None:
    logits = 3 * torch.randn(6, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = torch.tensor([0, 3, 9, 1, 1, 5])
    p = logits.softmax(1)
    expected = losses_of_ma_et_al(p, p.gather(1, target[:, None])[:, 0], name)
    for text, values in zip(load_study(name).losses, expected, strict=True):
        torch.testing.assert_close(losses.parse(text, reduction="none")(logits, target), values)


@pytest.mark.parametrize("name", MA2020)
def test_the_losses_of_ma_et_al_are_those_of_the_presets(name: str) -> None:
    texts = {str(losses.parse(text)) for text in load_study(name).losses}
    for method in ("fl", "gce", "sce", "nce+mae", "nce+rce", "nfl+mae", "nfl+rce"):
        assert str(losses.preset(method, MA2020[name])) in texts


def test_digits_differs_from_the_recipe_by_epochs_and_augmentation_alone() -> None:
    recipe = load_study("digits").recipe
    same = {"batch_size", "learning_rate", "momentum", "weight_decay"}
    assert recipe.model_dump(include=same) == Recipe().model_dump(include=same)
    assert not recipe.flip
    assert recipe.crop_padding == 0


def test_smoke_is_small_and_has_both_kinds_of_noise() -> None:
    study = load_study("smoke")
    assert {noise.parse(text).kind for text in study.noises} == {"symmetric", "asymmetric"}
    assert len(study.runs()) * study.recipe.epochs <= 30


@pytest.mark.parametrize("name", built_in_studies())
def test_the_first_seed_comes_first_so_that_early_tables_are_whole(name: str) -> None:
    study = load_study(name)
    seeds = [run.seed for run in study.runs()]
    assert seeds == sorted(seeds)
    per_seed = len(study.losses) * len(study.noises)
    assert len({(run.loss, run.noise) for run in study.runs()[:per_seed]}) == per_seed


# -------------------------------------------------------------------------------------------- loaded


def test_a_study_of_ones_own_is_loaded(write: Callable[[str], str]) -> None:
    study = load_study(write(OWN))
    assert study == Study(
        title="My own",
        data="digits",
        model=MLP(hidden=(8, 4)),
        recipe=Recipe(epochs=2, flip=False),
        losses=("ce", "2*nfl(gamma=2) + mae"),
        noises=("symmetric:0.2", "none"),
        seeds=(3, 1),
    )
    assert [(run.loss, run.noise, run.seed) for run in study.runs()] == [
        (loss, setting, seed) for seed in (3, 1) for loss in study.losses for setting in study.noises
    ]


def test_title_recipe_and_seeds_may_be_left_out(write: Callable[[str], str]) -> None:
    text = 'data = "digits"\nlosses = ["ce"]\nnoises = ["none"]\nmodel = {name = "resnet18"}'
    study = load_study(write(text))
    assert (study.title, study.recipe, study.seeds) == ("", Recipe(), (0,))
    assert study.model == ResNet18()


def test_other_spellings_give_the_same_study(write: Callable[[str], str]) -> None:
    other = OWN.replace("2*nfl(gamma=2) + mae", " MAE+(NFL(gamma=2.0))*2").replace(
        "symmetric:0.2", " Symmetric : 0.20\\n"
    )
    assert load_study(write(other)) == load_study(write(OWN))


def test_changes_reach_any_depth() -> None:
    study = load_study(
        "smoke", {"seeds": [7], "recipe.epochs": 9, "model.hidden": [5], "losses": ["mae"], "title": "t"}
    )
    assert (study.seeds, study.recipe.epochs, study.losses, study.title) == ((7,), 9, ("mae",), "t")
    assert study.model == MLP(hidden=(5,))
    assert load_study("smoke").seeds == (0,)  # the next one is as it was


def test_changes_can_make_a_table_that_the_file_leaves_out(write: Callable[[str], str]) -> None:
    text = 'data = "digits"\nlosses = ["ce"]\nnoises = ["none"]\nmodel = {name = "mlp"}'
    assert load_study(write(text), {"recipe.epochs": 3}).recipe == Recipe(epochs=3)


def test_what_is_written_reads_back() -> None:
    for name in built_in_studies():
        study = load_study(name)
        assert Study.model_validate_json(study.model_dump_json()) == study


# ------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("old", "new", "faults"),
    [
        # names
        ("losses =", "lossses =", ["unknown field 'lossses'; did you mean 'losses'?"]),
        ("seeds =", "sede =", ["unknown field 'sede'; did you mean 'seeds'?"]),
        ("[recipe]", "[recipes]", ["unknown field 'recipes'; did you mean 'recipe'?"]),
        ("epochs =", "epoch =", ["unknown field 'recipe.epoch'; did you mean 'epochs'?"]),
        ("flip =", "fliip =", ["unknown field 'recipe.fliip'; did you mean 'flip'?"]),
        ("hidden =", "hiden =", ["unknown field 'model.hiden'; did you mean 'hidden'?"]),
        ('"mlp"\nhidden', '"resnet18"\nwidht', ["'model.widht'; did you mean 'width'?"]),
        ('"mlp"', '"resnet18"', ["unknown field 'model.hidden'"]),
        # choices
        ('"digits"', '"digit"', ["unknown data set 'digit'; did you mean 'digits'?"]),
        ('"digits"', '"cifar"', ["unknown data set 'cifar'; did you mean 'cifar10'?"]),
        ('"mlp"', '"mpl"', ["field 'model': unknown name 'mpl'; did you mean 'mlp'?"]),
        ('name = "mlp"', "", ["'model'", "'name'"]),
        # losses
        ('"ce"', '"cee"', ["unknown loss 'cee'", "did you mean 'ce'?"]),
        ("2*nfl(", "2*nlf(", ["'2*nlf(gamma=2) + mae'", "'nlf' at column 3", "did you mean 'nfl'?"]),
        ("gamma", "gama", ["no hyperparameter 'gama'", "did you mean 'gamma'?"]),
        ('"ce", ', '"ce", "CE", ', ["'CE' is there twice"]),
        ('"ce", ', '"fl", "fl(gamma=0.5)", ', ["'fl(gamma=0.5)' is there twice"]),
        ('"ce", ', '"nce+mae", "mae + nce", ', ["'mae + nce' is there twice"]),
        # noises
        ("symmetric:0.2", "symetric:0.2", ["unknown kind 'symetric'; did you mean 'symmetric'?"]),
        ("symmetric:0.2", "symmetric:1.2", ["'symmetric:1.2'", "got 1.2; the nearest valid rate is 1"]),
        ("symmetric:0.2", "symmetric:-0.1", ["got -0.1; the nearest valid rate is 0"]),
        ("symmetric:0.2", "symmetric", ["'symmetric'", "such as 'symmetric:0.4'"]),
        ("symmetric:0.2", "symmetric:nan", ["got nan"]),
        ('"none"', '"none:0.2"', ["'none' takes no rate"]),
        ('"none"', '"symmetric:0.20"', ["'symmetric:0.20' is there twice"]),
        # seeds
        ("[3, 1]", "[3, 3]", ["'seeds'", "3 is there twice"]),
        ("[3, 1]", "[3, -1]", ["'seeds.1'", "greater than or equal to 0, got -1"]),
        ("[3, 1]", "[3, 1.5]", ["'seeds.1'", "got 1.5"]),
        ("[3, 1]", "3", ["'seeds'", "got 3"]),
        ("[3, 1]", "[]", ["'seeds'", "at least 1"]),
        # types and ranges
        ('["ce", ', '[1, "ce", ', ["'losses.0'", "valid string, got 1"]),
        ('["ce", "2*nfl(gamma=2) + mae"]', '"ce"', ["'losses'", "got 'ce'"]),
        ('["ce", "2*nfl(gamma=2) + mae"]', "[]", ["'losses'", "at least 1"]),
        ('["symmetric:0.2", "none"]', "[0.2]", ["'noises.0'", "valid string, got 0.2"]),
        ('"My own"', "3", ["'title'", "got 3"]),
        ('"digits"', '["digits"]', ["'data'", "got ['digits']"]),
        ("[8, 4]", "8", ["'model.hidden'", "got 8"]),
        ("[8, 4]", "[8, 0]", ["'model.hidden.1'", "greater than or equal to 1, got 0"]),
        ("epochs = 2", 'epochs = "two"', ["'recipe.epochs'", "valid integer", "got 'two'"]),
        ("epochs = 2", "epochs = 2.5", ["'recipe.epochs'", "got 2.5"]),
        ("epochs = 2", "epochs = 0", ["'recipe.epochs'", "greater than or equal to 1, got 0"]),
        ("epochs = 2", "batch_size = 0", ["'recipe.batch_size'", "got 0"]),
        ("epochs = 2", "learning_rate = 0", ["'recipe.learning_rate'", "greater than 0, got 0"]),
        ("epochs = 2", "learning_rate = nan", ["'recipe.learning_rate'", "finite", "got nan"]),
        ("epochs = 2", "learning_rate = inf", ["'recipe.learning_rate'", "finite", "got inf"]),
        ("epochs = 2", "momentum = 1.0", ["'recipe.momentum'", "less than 1, got 1.0"]),
        ("epochs = 2", "weight_decay = -1e-4", ["'recipe.weight_decay'", "got -0.0001"]),
        ("epochs = 2", "crop_padding = -1", ["'recipe.crop_padding'", "got -1"]),
        ("flip = false", "flip = 3", ["'recipe.flip'", "got 3"]),
        # a number is none of the two truth values, nor the other way round
        ("epochs = 2", "epochs = true", ["'recipe.epochs'", "got True"]),
        ("[3, 1]", "[true]", ["'seeds.0'", "got True"]),
        # what no generator can be seeded with
        ("[3, 1]", f"[{2**64}]", ["'seeds.0'", str(2**64)]),
        # what is no TOML
        ("[recipe]", "[recipe", ["is not valid TOML"]),
        ('"digits"', '"digits', ["is not valid TOML"]),
        ("epochs = 2", "epochs = 2\nepochs = 3", ["is not valid TOML"]),
    ],
)
def test_a_slip_is_answered_in_one_line_with_value_and_choice(
    write: Callable[[str], str], old: str, new: str, faults: list[str]
) -> None:
    assert old in OWN
    path = write(OWN.replace(old, new))
    message = refusal(lambda: load_study(path))
    assert message.startswith(f"study {path!r}")
    for fault in faults:
        assert fault in message


def test_more_than_one_slip_is_counted(write: Callable[[str], str]) -> None:
    path = write(OWN.replace("epochs", "epoch").replace("flip", "flop"))
    assert refusal(lambda: load_study(path)).endswith("(and 1 more)")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("digts", "unknown study 'digts'; did you mean 'digits'? (a study of your own ends in .toml)"),
        ("CIFAR10", "unknown study 'CIFAR10'; did you mean 'cifar10'?"),
        ("zzz", "unknown study 'zzz'; expected one of 'cifar10', 'cifar10n', 'cifar10n_cnn4', 'digits'"),
        ("own.yaml", "unknown study 'own.yaml'; expected one of"),
        ("", "unknown study ''; expected one of"),
        ("nowhere.toml", "study 'nowhere.toml' cannot be read: "),
    ],
)
def test_a_study_that_is_not_there_is_named(name: str, fault: str) -> None:
    assert fault in refusal(lambda: load_study(name))


def test_a_folder_or_a_binary_file_is_no_study(tmp_path: Path) -> None:
    folder, binary = tmp_path / "folder.toml", tmp_path / "binary.toml"
    folder.mkdir()
    binary.write_bytes(b"\xff\xfe\x00")
    for name in (str(folder), str(binary)):
        assert f"study {name!r} cannot be read: " in refusal(partial(load_study, name))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"recipe.epoch": 1}, "unknown field 'recipe.epoch'; did you mean 'epochs'?"),
        ({"recepi.epochs": 1}, "unknown field 'recepi'; did you mean 'recipe'?"),
        ({"title.x": 1}, "'title' is no table, so 'title.x' cannot be set"),
        ({"recipe.epochs.x": 1}, "'epochs' is no table, so 'recipe.epochs.x' cannot be set"),
        ({"recipe": 5}, "field 'recipe'"),
        ({"model": "mlp"}, "field 'model'"),
        ({"": 1}, "unknown field ''"),
    ],
)
def test_a_change_that_fits_nowhere_is_named(changes: dict[str, Any], fault: str) -> None:
    message = refusal(lambda: load_study("smoke", changes))
    assert message.startswith("study 'smoke': ")
    assert fault in message


@pytest.mark.parametrize(
    ("place", "value", "title"),
    [
        ("data", "mnist", ""),
        ("losses", ["ce"], ""),
        ("noises", ["none"], ""),
        ("model.hidden", [8], ""),
        ("recipe.epochs", 1, load_study("smoke").title),
        ("seeds", [3], load_study("smoke").title),
    ],
)
def test_a_title_that_a_change_may_make_untrue_goes(place: str, value: Any, title: str) -> None:
    assert load_study("smoke", {place: value}).title == title
    assert load_study("smoke", {place: value, "title": "mine"}).title == "mine"


def test_a_study_notes_the_code_of_its_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "losses_to_note.py"
    source.write_text("def one(logits, target): return -logits.log_softmax(-1)[range(len(target)), target]\n")
    monkeypatch.chdir(tmp_path)
    study = load_study("smoke", {"losses": ["ce", "nce + losses_to_note:one"], "noises": ["none"]})
    assert study.code == {}
    pinned = study.pinned()
    assert pinned.pinned() == pinned
    assert pinned.code == {"losses_to_note": hashlib.sha256(source.read_bytes()).hexdigest()[:12]}
    ours, own = pinned.runs()
    assert (ours.code, own.code) == ({}, pinned.code)
    assert ours.hash == study.runs()[0].hash
    assert own.hash != study.runs()[1].hash
    assert "code" not in ours.model_dump()
    assert Study.read(pinned.model_dump(mode="json"), where="here") == pinned
    source.write_text(source.read_text() + "# changed\n")
    with pytest.raises(NoiseproofError, match="losses_to_note is other code than it was: "):
        pinned.pinned()
    assert pinned.runs()[1].differences(study.pinned().runs()[1])
    assert not pinned.runs()[1].differences(study.pinned().runs()[0])


def test_a_loss_that_cannot_be_imported_is_named_when_a_training_begins() -> None:
    study = load_study("smoke", {"losses": ["nowhere_to_be_found:one"]})
    with pytest.raises(NoiseproofError, match="there is no module 'nowhere_to_be_found'"):
        study.pinned()
