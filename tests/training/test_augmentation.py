"""Crop and flip of a batch, against one image at a time."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from noiseproof.training.augmentation import crop_and_flip


def one_at_a_time(images: Tensor, top: Tensor, left: Tensor, flip: Tensor, padding: int) -> Tensor:
    """Copy each image into the middle of zeros, cut a window out, and mirror it."""
    _, channels, height, width = images.shape
    results = []
    for image, y, x, mirrored in zip(images, top.tolist(), left.tolist(), flip.tolist(), strict=True):
        padded = image.new_zeros(channels, height + 2 * padding, width + 2 * padding)
        padded[:, padding : padding + height, padding : padding + width] = image
        window = padded[:, y : y + height, x : x + width]
        results.append(window.flip(-1) if mirrored else window)
    return torch.stack(results)


def random_images(*shape: int) -> Tensor:
    """Of uint8, and nowhere 0, so that the padding shows."""
    return torch.randint(1, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (3, 5, 9), (2, 9, 4), (3, 1, 1)], ids=str)
@pytest.mark.parametrize("padding", [0, 1, 2, 4, 11])
def test_a_batch_is_its_images_one_at_a_time(shape: tuple[int, int, int], padding: int) -> None:
    images = random_images(64, *shape)
    generator = torch.Generator().manual_seed(1)
    top, left = torch.randint(2 * padding + 1, (2, 64), generator=generator)
    flip = torch.rand(64, generator=generator) < 0.5
    augmented = crop_and_flip(images, top, left, flip, padding=padding)
    assert augmented.dtype == images.dtype
    assert torch.equal(augmented, one_at_a_time(images, top, left, flip, padding))


def test_every_offset_and_flip_of_one_image() -> None:
    padding = 2
    draws = list(itertools.product(range(5), range(5), [False, True]))
    top, left, flip = (torch.tensor(values) for values in zip(*draws, strict=True))
    images = random_images(1, 3, 4, 6).expand(len(draws), -1, -1, -1)
    augmented = crop_and_flip(images, top, left, flip, padding=padding)
    assert torch.equal(augmented, one_at_a_time(images, top, left, flip, padding))
    assert len({image.numpy().tobytes() for image in augmented}) == len(draws)


@pytest.mark.parametrize("padding", [0, 1, 4])
def test_the_middle_unflipped_is_the_image_itself(padding: int) -> None:
    images = random_images(5, 3, 8, 8)
    middle, unflipped = torch.full((5,), padding), torch.zeros(5, dtype=torch.bool)
    assert torch.equal(crop_and_flip(images, middle, middle, unflipped, padding=padding), images)


def test_the_images_given_stay_as_they_were() -> None:
    images = random_images(4, 1, 6, 6)
    copy = images.clone()
    zeros = torch.zeros(4, dtype=torch.long)
    crop_and_flip(images, zeros, zeros, torch.ones(4, dtype=torch.bool), padding=2).fill_(0)
    assert torch.equal(images, copy)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64], ids=str)
def test_any_dtype_is_kept(dtype: torch.dtype) -> None:
    images = random_images(4, 1, 6, 6).to(dtype)
    zeros = torch.zeros(4, dtype=torch.long)
    assert crop_and_flip(images, zeros, zeros, zeros.bool(), padding=1).dtype is dtype
