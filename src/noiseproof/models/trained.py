"""A trained network as it is used: with what its images are normalized by, and the names of its classes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from noiseproof.errors import NoiseproofError, one_line
from noiseproof.files import write_atomically
from noiseproof.models.choice import Model
from noiseproof.schema import Schema


class NetworkFacts(Schema):
    """What a file of weights has to say of them: which network, for which images and classes.

    ``mean``, ``std``: per channel, in the images' units, to normalize by.
    """

    model: Model
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


class TrainedNetwork(nn.Module):
    """A trained network: images ``(N, C, H, W)`` in the data's own units to logits ``(N, K)``.

    uint8 images stay so, from 0 to 255; the network normalizes them as in training. ``class_names``: K names.
    It is in evaluation mode when it is loaded; train it further like any other module.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, facts: NetworkFacts) -> None:
        super().__init__()
        self.network = network
        self.facts = facts
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(getattr(facts, name)).view(-1, 1, 1))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes' names, in the order of the logits."""
        return self.facts.class_names

    @classmethod
    def of(cls, facts: NetworkFacts, state: Mapping[str, Tensor]) -> Self:
        """Build the network and give it its weights and batch statistics."""
        network = facts.model.initialized(facts.image_shape, len(facts.class_names), seed=0)
        network.load_state_dict(dict(state))
        return cls(network, facts).eval()

    def forward(self, images: Tensor) -> Tensor:
        """Give the logits; raises `NoiseproofError` for images of another shape."""
        expected = self.facts.image_shape
        if tuple(images.shape[1:]) != expected:
            sizes = ", ".join(map(str, expected))
            raise NoiseproofError(f"images must be (N, {sizes}), got {tuple(images.shape)}")
        logits: Tensor = self.network((images.float() - self.mean) / self.std)
        return logits


def save_network(path: Path, facts: NetworkFacts, state: Mapping[str, Tensor]) -> None:
    """Write a network, whole or not at all; `torch.load` reads the file without unpickling any code."""
    buffer = io.BytesIO()
    torch.save({"facts": facts.model_dump(mode="json"), "state_dict": dict(state)}, buffer)
    write_atomically(path, buffer.getvalue())


def load_network(path: Path | str) -> TrainedNetwork:
    """Read the network that a training has left, on the CPU, in evaluation mode.

    ``noiseproof train`` and `noiseproof.study.conduct` with ``keep_networks`` leave one for each run, in
    ``networks/``. The weights alone are ``torch.load(path)["state_dict"]``.

    Raises:
        NoiseproofError: the file is not there or damaged, or a network of your own is not what it was.

    >>> load_network("nowhere.pt")
    Traceback (most recent call last):
    noiseproof.errors.NoiseproofError: network 'nowhere.pt' does not exist or is no file
    """
    path = Path(path)
    if not path.is_file():
        near: Sequence[str] = sorted(str(file) for file in path.glob("networks/*.pt"))
        offer = f"; did you mean {near[0]!r}?" if near else ""
        raise NoiseproofError(f"network {str(path)!r} does not exist or is no file{offer}")
    damaged = f"network {str(path)!r} is damaged"
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
        facts, state = content["facts"], content["state_dict"]
    except Exception as error:  # what torch.load raises for odd bytes is not documented
        raise NoiseproofError(f"{damaged}, or none of noiseproof's") from error
    facts = NetworkFacts.read(facts, where=damaged)
    facts.model.pinned()
    try:
        return TrainedNetwork.of(facts, state)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise NoiseproofError(f"{damaged}: {one_line(str(error))}") from error
