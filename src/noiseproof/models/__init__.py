"""Networks as typed data that builds them. A new one is a schema in its own file and a name in `Model`."""

from noiseproof.models.choice import Model
from noiseproof.models.cnn import CNN4, CNN8
from noiseproof.models.factory import Factory
from noiseproof.models.initialization import build_initialized
from noiseproof.models.mlp import MLP
from noiseproof.models.network import Network
from noiseproof.models.randomness import global_randomness
from noiseproof.models.resnet import ResNet18, ResNet34
from noiseproof.models.trained import NetworkFacts, TrainedNetwork, load_network, save_network

__all__ = [
    "CNN4",
    "CNN8",
    "MLP",
    "Factory",
    "Model",
    "Network",
    "NetworkFacts",
    "ResNet18",
    "ResNet34",
    "TrainedNetwork",
    "build_initialized",
    "global_randomness",
    "load_network",
    "save_network",
]
