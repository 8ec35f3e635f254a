"""Which class is mistaken for which: the class maps of asymmetric noise, by data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from noiseproof.errors import NoiseproofError, did_you_mean

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip

FASHION_MNIST_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

CIFAR100_SUPERCLASSES: dict[str, tuple[str, ...]] = {
    "aquatic mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
    "food containers": ("bottle", "bowl", "can", "cup", "plate"),
    "fruit and vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    "household electrical devices": ("clock", "keyboard", "lamp", "telephone", "television"),
    "household furniture": ("bed", "chair", "couch", "table", "wardrobe"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large man-made outdoor things": ("bridge", "castle", "house", "road", "skyscraper"),
    "large natural outdoor scenes": ("cloud", "forest", "mountain", "plain", "sea"),
    "large omnivores and herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium-sized mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "vehicles 1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles 2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}
"""The 20 superclasses of CIFAR-100 (Krizhevsky 2009), each with its five classes in the order of ids."""

CIFAR100_CLASSES = tuple(sorted(name for group in CIFAR100_SUPERCLASSES.values() for name in group))
"""The 100 fine classes; their ids are alphabetical, so consecutive ids are not a superclass."""


def _by_name(names: Mapping[str, str], classes: Sequence[str]) -> dict[int, int]:
    return {classes.index(clean): classes.index(noisy) for clean, noisy in names.items()}


LOOK_ALIKE_DIGITS = {7: 1, 2: 7, 3: 8, 5: 6, 6: 5}
"""Patrini et al., CVPR 2017, for MNIST."""

CLASS_MAPS: dict[str, dict[int, int]] = {
    # Patrini et al., CVPR 2017; the study's section 3
    "cifar10": _by_name(
        {"truck": "automobile", "bird": "airplane", "deer": "horse", "cat": "dog", "dog": "cat"},
        CIFAR10_CLASSES,
    ),
    # to the next class of the same superclass, the last to the first; Patrini et al., CVPR 2017. Their code,
    # github.com/giorgiop/loss-correction at 15a79de, takes five consecutive ids for a superclass, as does Ma
    # et al.'s after it
    "cifar100": _by_name(
        {
            name: group[(i + 1) % len(group)]
            for group in CIFAR100_SUPERCLASSES.values()
            for i, name in enumerate(group)
        },
        CIFAR100_CLASSES,
    ),
    "digits": LOOK_ALIKE_DIGITS,
    "mnist": LOOK_ALIKE_DIGITS,
    # Zhang & Sabuncu, NeurIPS 2018
    "fashion-mnist": _by_name(
        {
            "Ankle boot": "Sneaker",
            "Sneaker": "Sandal",
            "Pullover": "Shirt",
            "Coat": "Dress",
            "Dress": "Coat",
        },
        FASHION_MNIST_CLASSES,
    ),
}
"""Class maps ``{clean: noisy}`` for `asymmetric`, by data set."""


def class_map(name: str) -> dict[int, int]:
    """Look up a class map by the name of its data set; raises `NoiseproofError` for an unknown one.

    >>> class_map("digits")
    {7: 1, 2: 7, 3: 8, 5: 6, 6: 5}
    """
    try:
        return dict(CLASS_MAPS[name])
    except KeyError:
        raise NoiseproofError(f"no class map named {name!r}; {did_you_mean(name, CLASS_MAPS)}") from None
