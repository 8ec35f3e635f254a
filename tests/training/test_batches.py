"""What an epoch draws: every sample once, in an order and with crops and flips that fit their claims."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from noiseproof.training import Recipe
from noiseproof.training.batches import EpochPlan

MANY = 6000


def draw(num_samples: int, *, recipe: Recipe | None = None, seed: int = 0, epoch: int = 0) -> EpochPlan:
    return EpochPlan.draw(
        num_samples, recipe=recipe or Recipe(), seed=seed, epoch=epoch, device=torch.device("cpu")
    )


def draws_of(plan: EpochPlan) -> list[Tensor]:
    return [plan.order, plan.top, plan.left, plan.flip]


def numbered_images(num_samples: int, shape: tuple[int, int, int] = (2, 3, 4)) -> Tensor:
    images = torch.randint(1, 256, (num_samples, *shape), generator=torch.Generator().manual_seed(0))
    return images.to(torch.uint8)


# -------------------------------------------------------------------------------------------- the order


@settings(max_examples=40, deadline=None)
@given(
    num_samples=st.integers(1, 300),
    batch_size=st.integers(1, 320),
    seed=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 1000),
)
def test_an_epochs_batches_visit_every_sample_once(
    num_samples: int, batch_size: int, seed: int, epoch: int
) -> None:
    recipe = Recipe(batch_size=batch_size)
    plan = draw(num_samples, recipe=recipe, seed=seed, epoch=epoch)
    images = numbered_images(num_samples)
    batches = [plan.batch(images, start) for start in range(0, num_samples, batch_size)]
    assert len(batches) == recipe.steps_per_epoch(num_samples)
    assert all(len(indices) == len(chosen) for indices, chosen in batches)
    assert all(len(indices) == batch_size for indices, _ in batches[:-1])
    assert 1 <= len(batches[-1][0]) <= batch_size
    assert sorted(torch.cat([indices for indices, _ in batches]).tolist()) == list(range(num_samples))


def test_the_same_seed_and_epoch_draw_the_same() -> None:
    first, second = (draw(100, seed=3, epoch=2) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(draws_of(first), draws_of(second), strict=True))


@pytest.mark.parametrize("what", range(4), ids=["order", "top", "left", "flip"])
def test_every_seed_and_every_epoch_draws_anew(what: int) -> None:
    plans = [draw(200, seed=seed, epoch=epoch) for seed in range(8) for epoch in range(8)]
    assert len({draws_of(plan)[what].numpy().tobytes() for plan in plans}) == len(plans)


def test_great_seeds_draw_anew_too() -> None:
    plans = [
        draw(200, seed=seed, epoch=epoch) for seed in (0, 1, 2**32, 2**32 + 1, 2**33) for epoch in (0, 1, 2)
    ]
    assert len({plan.order.numpy().tobytes() for plan in plans}) == len(plans)


def test_no_epoch_repeats_the_random_stream_of_the_bare_seed() -> None:
    """Label noise is drawn from it: batches must not depend on which labels are wrong."""
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(200).tolist()
        assert all(draw(200, seed=seed, epoch=epoch).order.tolist() != order for epoch in range(5))


def test_the_order_does_not_depend_on_the_augmentation() -> None:
    orders = [
        draw(100, recipe=Recipe(crop_padding=padding, flip=flip)).order
        for padding in (0, 1, 4)
        for flip in (False, True)
    ]
    assert all(torch.equal(order, orders[0]) for order in orders)


def test_drawing_touches_no_global_random_state(
    global_random_states: Callable[[], tuple[object, ...]],
) -> None:
    before = global_random_states()
    draw(100).batch(numbered_images(100), 0)
    assert global_random_states() == before


# ------------------------------------------------------------------------------------- crops and flips


@pytest.mark.parametrize("padding", [1, 2, 4])
def test_crops_take_every_offset_equally_often(padding: int) -> None:
    plan = draw(MANY, recipe=Recipe(crop_padding=padding))
    side = 2 * padding + 1
    for offsets in (plan.top, plan.left):
        assert offsets.min() >= 0
        assert offsets.max() <= 2 * padding
    counts = torch.bincount(plan.top * side + plan.left, minlength=side**2)
    expected = MANY / side**2
    # seven standard deviations
    assert (counts - expected).abs().max() < 7 * expected**0.5
    assert counts.min() > 0


def test_half_of_the_images_are_flipped_whatever_their_crop() -> None:
    plan = draw(MANY)
    assert abs(plan.flip.double().mean().item() - 0.5) < 0.04
    for offset in range(9):
        assert abs(plan.flip[plan.top == offset].double().mean().item() - 0.5) < 0.12


def test_what_the_recipe_turns_off_is_not_drawn() -> None:
    assert not draw(MANY, recipe=Recipe(flip=False)).flip.any()
    uncropped = draw(MANY, recipe=Recipe(crop_padding=0))
    assert not uncropped.top.any()
    assert not uncropped.left.any()


def test_without_crop_and_flip_a_batch_is_the_images_themselves() -> None:
    images = numbered_images(50)
    plan = draw(50, recipe=Recipe(crop_padding=0, flip=False, batch_size=20))
    for start in (0, 20, 40):
        indices, chosen = plan.batch(images, start)
        assert chosen.dtype is torch.uint8
        assert torch.equal(indices, plan.order[start : start + 20])
        assert torch.equal(chosen, images[indices])


@pytest.mark.parametrize(("padding", "flip"), [(0, True), (2, False), (2, True)])
def test_each_image_gets_its_own_crop_and_flip(padding: int, flip: bool) -> None:
    images = numbered_images(50)
    plan = draw(50, recipe=Recipe(crop_padding=padding, flip=flip, batch_size=20))
    seen = 0
    for start in (0, 20, 40):
        for position, (index, image) in enumerate(zip(*plan.batch(images, start), strict=True), start):
            y, x = int(plan.top[position]), int(plan.left[position])
            padded = np.pad(images[index].numpy(), ((0, 0), (padding,) * 2, (padding,) * 2))
            expected = padded[:, y : y + 3, x : x + 4]
            expected = expected[:, :, ::-1] if plan.flip[position] else expected
            assert np.array_equal(image.numpy(), expected)
            seen += 1
    assert seen == 50
    assert bool(plan.flip.any()) is flip


def test_taking_batches_leaves_the_images_as_they_were() -> None:
    images = numbered_images(50)
    copy = images.clone()
    for recipe in (Recipe(), Recipe(crop_padding=0, flip=False)):
        draw(50, recipe=recipe).batch(images, 0)[1].fill_(0)
    assert torch.equal(images, copy)
