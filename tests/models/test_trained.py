"""A trained network as a file: what it gives is what was trained, and what is no such file is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from noiseproof.errors import NoiseproofError
from noiseproof.models import CNN4, MLP, Model, NetworkFacts, ResNet18, load_network, save_network
from noiseproof.schema import Schema


def facts_of(model: Model) -> NetworkFacts:
    return NetworkFacts(
        model=model,
        image_shape=(3, 16, 16),
        class_names=("owl", "jay"),
        mean=(1.0, 2.0, 3.0),
        std=(4.0, 5.0, 6.0),
    )


@pytest.mark.parametrize("model", [MLP(hidden=(5,)), CNN4(), ResNet18(width=2)], ids=lambda model: model.name)
def test_a_network_comes_back_with_its_normalization_and_names(model: Model, tmp_path: Path) -> None:
    facts = facts_of(model)
    trained = model.initialized((3, 16, 16), 2, seed=3)
    images = torch.randint(256, (4, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (facts.mean, facts.std))
    normalized = (images.float() - mean) / std
    trained(normalized)  # which moves the batch statistics, where there are such
    save_network(tmp_path / "net.pt", facts, trained.state_dict())
    network = load_network(tmp_path / "net.pt")
    assert not network.training
    assert network.class_names == ("owl", "jay")
    assert_close(network(images), trained.eval()(normalized), rtol=0, atol=0)
    content = torch.load(tmp_path / "net.pt", weights_only=True)
    trained.load_state_dict(content["state_dict"])


def test_images_of_another_shape_are_refused(tmp_path: Path) -> None:
    model = MLP(hidden=(5,))
    save_network(tmp_path / "net.pt", facts_of(model), model.initialized((3, 16, 16), 2, seed=0).state_dict())
    network = load_network(str(tmp_path / "net.pt"))
    with pytest.raises(NoiseproofError, match=re.escape("images must be (N, 3, 16, 16), got (4, 16, 16, 3)")):
        network(torch.zeros(4, 16, 16, 3))


def test_what_is_no_network_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoiseproofError, match=r"'nowhere\.pt' does not exist or is no file$"):
        load_network("nowhere.pt")
    path = tmp_path / "networks" / "a.pt"
    path.parent.mkdir()
    for content in (b"", b"no network", b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(NoiseproofError, match=re.escape(f"network {str(path)!r} is damaged, or none of")):
            load_network(path)
    # a study's folder in place of the file
    with pytest.raises(NoiseproofError, match=re.escape(f"no file; did you mean {str(path)!r}?")):
        load_network(tmp_path)
    torch.save({"facts": {"model": {"name": "mlp"}}, "state_dict": {}}, path)
    with pytest.raises(NoiseproofError, match="is damaged: field 'image_shape' is missing"):
        load_network(path)
    for state in ({}, {"other": torch.zeros(1)}, [1], None):
        torch.save({"facts": facts_of(MLP()).model_dump(mode="json"), "state_dict": state}, path)
        with pytest.raises(NoiseproofError, match="is damaged: "):
            load_network(path)


def test_the_facts_are_data_like_any_other() -> None:
    assert issubclass(NetworkFacts, Schema)
    facts = facts_of(CNN4())
    assert NetworkFacts.read(facts.model_dump(mode="json"), where="here") == facts
