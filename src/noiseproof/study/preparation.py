"""What stands before any training: the data, the device and the engine, each chosen and checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from noiseproof import data, losses
from noiseproof.data import Dataset
from noiseproof.errors import NoiseproofError
from noiseproof.losses.own import check_values
from noiseproof.models import NetworkFacts
from noiseproof.study.study import Study
from noiseproof.study.trainer import Engine
from noiseproof.training import ConcurrentTraining, OnTrial, Run, StackedTraining, largest_stack, plan


def load_data(
    study: Study, data_dir: Path | None, dataset: Dataset | None = None, *, what: str = "study"
) -> Dataset:
    """Load a study's data, unless ``dataset`` is it.

    Raises `NoiseproofError`, which calls the study ``what``, if it is other data, or none that the recipe and
    the network can take.
    """
    if dataset is None:
        dataset = data.load(study.data, data_dir)
    elif dataset.name != data.label(study.data):
        raise NoiseproofError(f"the {what} is of {data.label(study.data)!r}, the dataset is {dataset.name!r}")
    study.recipe.check(dataset.image_shape)
    study.model.check(dataset.image_shape, dataset.num_classes)
    for text in study.losses:
        check_values(losses.parse(text), dataset.num_classes)
    return dataset


def check_last_batch(study: Study, dataset: Dataset) -> None:
    """Raise `NoiseproofError` if an epoch ends in a single image, and the network can't be trained on one."""
    size, num_images = study.recipe.batch_size, len(dataset.train_labels)
    if study.recipe.last_batch(num_images) > 1:
        return
    fault = study.model.fault_on_one(dataset.image_shape, dataset.num_classes)
    if fault is None:
        return
    others = (other for other in range(2, num_images + 1) if num_images % other != 1)
    nearest = min(others, key=lambda other: abs(other - size), default=None)
    remedy = f"recipe.batch_size = {nearest} leaves none" if nearest else "it takes more images"
    raise NoiseproofError(
        f"an epoch of {num_images} images in batches of {size} ends in a single one, on which the network"
        f" {study.model.name!r} cannot be trained ({fault}); {remedy}, and 'mlp' takes one"
    )


def network_facts(study: Study, dataset: Dataset) -> NetworkFacts:
    """Give what the study's networks need to be used once they are trained."""
    return NetworkFacts(
        model=study.model,
        image_shape=dataset.image_shape,
        class_names=dataset.class_names,
        mean=dataset.mean,
        std=dataset.std,
    )


def choose_engine(
    study: Study,
    dataset: Dataset,
    runs: Sequence[Run],
    device: torch.device,
    *,
    steps_ahead: int = 0,
    seconds_ahead: float = math.inf,
    on_trial: OnTrial = lambda *_: None,
) -> Engine:
    """Choose the engine: it depends on the device, and on a GPU on what proves quickest in trials there.

    ``steps_ahead``: training steps that are still to be done, each of one run; ``seconds_ahead``: how long
    they may take. Where either is little, compiling is not tried. ``on_trial`` is told of each trial.
    """
    model, recipe = study.model, study.recipe
    if device.type != "cuda":
        return Engine(
            lambda some: StackedTraining(dataset, model, recipe, some, device),
            largest_stack(model, dataset),
        )
    images_ahead = steps_ahead * recipe.batch_size
    chosen = plan(
        dataset,
        model,
        recipe,
        runs,
        device,
        images_ahead=images_ahead,
        seconds_ahead=seconds_ahead,
        on_trial=on_trial,
    )
    return Engine(
        lambda some: ConcurrentTraining(dataset, model, recipe, some, device, way=chosen.way),
        chosen.at_once,
        chosen.way.precision,
    )


def choose_device(name: str) -> torch.device:
    """Turn a device's name into a device that is there; ``auto`` is CUDA if there is one, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        if name.partition(":")[0] not in ("cpu", "cuda"):  # PyTorch would name every other kind there is
            raise NotImplementedError("it is neither cpu nor cuda")
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise NoiseproofError(
            f"device {name!r} cannot be used ({reason}); expected auto, cpu, cuda or cuda:N"
        ) from None
    return device
