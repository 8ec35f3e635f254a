"""Random crop and horizontal flip of whole batches, on the device where the images are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def crop_and_flip(images: Tensor, top: Tensor, left: Tensor, flip: Tensor, *, padding: int) -> Tensor:
    """Pad with zeros, crop each image back to its size at ``(top, left)``, and mirror where ``flip``.

    Shapes: images ``(B, C, H, W)``; top, left ``(B,)`` in 0..2*padding; flip ``(B,)`` bool.

    >>> image = torch.arange(4).reshape(1, 1, 2, 2)
    >>> one = torch.tensor([1])
    >>> crop_and_flip(image, one, one, torch.tensor([True]), padding=1).flatten().tolist()
    [1, 0, 3, 2]
    """
    height, width = images.shape[-2:]
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device).expand(len(images), -1)
    columns = left[:, None] + torch.where(flip[:, None], columns.flip(-1), columns)
    padded = F.pad(images, (padding,) * 4)
    batch = torch.arange(len(images), device=images.device)
    # advanced indices around a slice put the channels last: (B, H, W, C)
    cropped = padded[batch[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return cropped.movedim(-1, 1)
