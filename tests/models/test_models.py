"""Networks: their shapes and sizes against the papers', and their settings as typed data."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from noiseproof.errors import NoiseproofError
from noiseproof.models import CNN4, CNN8, MLP, Factory, Model, Network, ResNet18, ResNet34
from noiseproof.models.resnet import BasicBlock
from noiseproof.schema import Schema


def images(shape: tuple[int, int, int], count: int = 2) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))


def size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# ------------------------------------------------------------------------------------------------ MLP


@pytest.mark.parametrize("hidden", [(), (1,), (8,), (16, 8), (4, 4, 4)], ids=str)
@pytest.mark.parametrize(("image_shape", "num_classes"), [((1, 8, 8), 10), ((3, 5, 7), 2)], ids=str)
def test_an_mlp_has_the_layers_it_was_asked_for(
    hidden: tuple[int, ...], image_shape: tuple[int, int, int], num_classes: int
) -> None:
    network = MLP(hidden=hidden).build(image_shape, num_classes)
    assert network(images(image_shape)).shape == (2, num_classes)
    inputs = image_shape[0] * image_shape[1] * image_shape[2]
    expected = 0
    for outputs in (*hidden, num_classes):
        expected += (inputs + 1) * outputs
        inputs = outputs
    assert size(network) == expected


def test_an_mlp_is_linear_layers_with_relu_between() -> None:
    network = MLP(hidden=(6, 5)).build((1, 2, 2), 3)
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    x = given = images((1, 2, 2), 8)
    for i, layer in enumerate(linear):
        x = x.reshape(8, -1) @ layer.weight.T + layer.bias
        if i < 2:
            x = x.maximum(torch.zeros(()))
    torch.testing.assert_close(network(given), x)
    assert (x < 0).any()  # no ReLU on the logits


@pytest.mark.parametrize(
    "network", [MLP(), ResNet18(width=1), ResNet18(width=1, stem="imagenet"), CNN4()], ids=repr
)
@pytest.mark.parametrize("side", [8, 9, 33])
def test_what_cannot_be_trained_on_one_image_says_so_beforehand(network: Network, side: int) -> None:
    trained = network.build((1, side, side), 3).train()
    try:
        trained(images((1, side, side), 1))
        fault = None
    except ValueError as error:
        fault = str(error)
    assert network.fault_on_one((1, side, side), 3) == fault


# --------------------------------------------------------------------------------------------- ResNet


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize(
    ("width", "image_shape"), [(1, (3, 32, 32)), (4, (1, 8, 8)), (16, (3, 33, 47))], ids=str
)
def test_a_resnet_gives_a_logit_for_each_class(
    stem: Any, width: int, image_shape: tuple[int, int, int]
) -> None:
    network = ResNet18(width=width, stem=stem).build(image_shape, 7)
    assert network(images(image_shape)).shape == (2, 7)


@pytest.mark.parametrize(
    ("model", "num_classes", "parameters"),
    [
        (ResNet18(), 10, 11_173_962),  # the usual CIFAR-10 variant
        (ResNet18(), 100, 11_220_132),
        (ResNet18(stem="imagenet"), 1000, 11_689_512),  # the paper's
        (ResNet34(), 10, 21_282_122),
        (ResNet34(stem="imagenet"), 1000, 21_797_672),
    ],
    ids=str,
)
def test_a_resnet_has_as_many_parameters_as_it_is_known_to(
    model: Network, num_classes: int, parameters: int
) -> None:
    with torch.device("meta"):
        assert size(model.build((3, 32, 32), num_classes)) == parameters


@pytest.mark.parametrize(
    ("stem", "pixels", "sides"),
    [("cifar", 32, [32, 16, 8, 4]), ("imagenet", 224, [56, 28, 14, 7])],
)
@pytest.mark.parametrize(("model", "numbers"), [(ResNet18, [2, 2, 2, 2]), (ResNet34, [3, 4, 6, 3])])
def test_a_resnet_doubles_channels_as_it_halves_sides(
    stem: Any, pixels: int, sides: list[int], model: type[ResNet18 | ResNet34], numbers: list[int]
) -> None:
    network = model(width=2, stem=stem).build((3, pixels, pixels), 10)
    shapes: list[tuple[int, ...]] = []
    blocks = [module for module in network.modules() if isinstance(module, BasicBlock)]
    for block in blocks:
        block.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape)))
    network(images((3, pixels, pixels)))
    assert shapes == [
        (2, 2 * 2**stage, side, side)
        for stage, (side, number) in enumerate(zip(sides, numbers, strict=True))
        for _block in range(number)
    ]


@pytest.mark.parametrize(("outputs", "stride"), [(4, 1), (6, 1), (4, 2), (8, 2)])
def test_a_block_adds_its_shortcut_to_its_residual(outputs: int, stride: int) -> None:
    block = BasicBlock(4, outputs, stride=stride)
    x = images((4, 6, 6))
    nn.init.zeros_(block.bn2.weight)  # no residual: what is left is the shortcut
    expected = x
    if outputs != 4 or stride != 1:
        expected = nn.functional.conv2d(x, next(block.shortcut.parameters()), stride=stride)
        mean, var = (
            expected.mean((0, 2, 3), keepdim=True),
            expected.var((0, 2, 3), keepdim=True, correction=0),
        )
        expected = (expected - mean) / (var + 1e-5).sqrt()
    torch.testing.assert_close(block(x), expected.relu())


# ------------------------------------------------------------------------------------------------ CNN


@pytest.mark.parametrize(
    ("model", "image_shape", "channels", "hidden"),
    [
        (CNN8(), (3, 32, 32), [[64, 64], [128, 128], [196, 196]], 256),
        (CNN8(), (3, 12, 9), [[64, 64], [128, 128], [196, 196]], 256),
        (CNN4(), (1, 28, 28), [[32], [64]], 128),
    ],
    ids=str,
)
def test_a_cnn_is_groups_of_convolutions_and_a_hidden_layer(
    model: Network, image_shape: tuple[int, int, int], channels: list[list[int]], hidden: int
) -> None:
    network = model.build(image_shape, 7)
    convolution, pooling = ["Conv2d", "BatchNorm2d", "ReLU"], ["MaxPool2d"]
    assert [type(layer).__name__ for layer in network.children()] == [
        *(kind for group in channels for kind in convolution * len(group) + pooling),
        *("Flatten", "Linear", "BatchNorm1d", "ReLU", "Linear"),
    ]
    inputs, height, width = image_shape
    expected = 0
    for group in channels:
        for outputs in group:
            expected += (9 * inputs + 1) * outputs + 2 * outputs
            inputs = outputs
        height, width = height // 2, width // 2
    expected += (inputs * height * width + 1) * hidden + 2 * hidden + (hidden + 1) * 7
    assert size(network) == expected
    assert network(images(image_shape)).shape == (2, 7)


@pytest.mark.parametrize(("model", "least"), [(CNN4(), 4), (CNN8(), 8)], ids=str)
def test_images_too_small_for_the_pooling_are_refused(model: Network, least: int) -> None:
    model.check((1, least, least), 10)
    message = f"{model.name} halves images .* must be at least {least}x{least}, got {least}x{least - 1}$"
    with pytest.raises(NoiseproofError, match=message):
        model.check((1, least, least - 1), 10)


# ------------------------------------------------------------------------------------------------ all

MODELS: list[Network] = [
    MLP(),
    MLP(hidden=(8, 4)),
    ResNet18(width=2),
    ResNet18(width=2, stem="imagenet"),
    ResNet34(width=2),
    CNN4(),
    CNN8(),
]


def test_every_network_is_here() -> None:
    assert {type(model) for model in MODELS} | {Factory} == set(get_args(get_args(Model)[0]))


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_a_forward_pass_leaves_the_images_as_they_were(model: Network) -> None:
    x = images((3, 16, 16))
    copy = x.clone()
    model.build((3, 16, 16), 10)(x)
    assert torch.equal(x, copy)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_every_parameter_takes_part(model: Network) -> None:
    network = model.build((3, 32, 32), 10)
    network(images((3, 32, 32), 8)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_an_image_is_judged_by_itself_in_evaluation(model: Network) -> None:
    network = model.build((3, 16, 16), 10).eval()
    x = images((3, 16, 16), 3)
    with torch.no_grad():
        torch.testing.assert_close(network(x)[:1], network(x[:1]))


# ---------------------------------------------------------------------------------------- typed data


class Choice(Schema):
    model: Model


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_a_model_reads_back_from_its_data(model: Network) -> None:
    choice = Choice.read({"model": model.model_dump()}, where="here")
    assert choice.model == model
    assert Choice.read(choice.model_dump(), where="here") == choice
    assert Choice.model_validate_json(choice.model_dump_json()) == choice


@pytest.mark.parametrize(
    ("schema", "data", "message"),
    [
        (ResNet18, {"widht": 32}, "here: unknown field 'widht'; did you mean 'width'?"),
        (MLP, {"hiden": [8]}, "here: unknown field 'hiden'; did you mean 'hidden'?"),
        (MLP, {"dropout": 0.5}, "here: unknown field 'dropout'; expected one of 'name', 'hidden'"),
        (ResNet18, {"width": 0}, "here: field 'width': input should be greater than or equal to 1, got 0"),
        (
            ResNet18,
            {"stem": "cifer"},
            "here: field 'stem': input should be 'cifar' or 'imagenet', got 'cifer'",
        ),
        (
            MLP,
            {"hidden": [8, 0]},
            "here: field 'hidden.1': input should be greater than or equal to 1, got 0",
        ),
    ],
    ids=str,
)
def test_a_bad_setting_is_refused_in_one_line(schema: type[Schema], data: Any, message: str) -> None:
    with pytest.raises(NoiseproofError, match="^" + re.escape(message) + "$"):
        schema.read(data, where="here")


@pytest.mark.parametrize(
    ("data", "start", "end"),
    [
        ({"name": "resnet18", "widht": 32}, "unknown field 'model.", "widht'; did you mean 'width'?"),
        ({"name": "mlp", "hiden": [8]}, "unknown field 'model.", "hiden'; did you mean 'hidden'?"),
        ({"name": "mlp", "width": 8}, "unknown field 'model.", "width'; expected one of 'name', 'hidden'"),
        ({"name": "resnet180"}, "field 'model': ", "unknown name 'resnet180'; did you mean 'resnet18'?"),
        (
            {"name": "vit"},
            "field 'model': unknown name 'vit'; ",
            "'mlp', 'resnet18', 'resnet34', 'cnn4', 'cnn8', 'factory'",
        ),
        ({"width": 8}, "field 'model': ", "'name'"),
        ("mlp", "field 'model': ", "got 'mlp'"),
    ],
    ids=str,
)
def test_a_fault_within_a_choice_of_models_is_told_by_its_own_model(data: Any, start: str, end: str) -> None:
    with pytest.raises(NoiseproofError) as caught:
        Choice.read({"model": data}, where="study 'mine'")
    message = str(caught.value)
    assert message.startswith(f"study 'mine': {start}")
    assert message.endswith(end)
    assert len(message.splitlines()) == 1
