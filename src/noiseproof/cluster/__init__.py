"""A study's runs as tasks over the machines of a cluster, by the same records and checkpoints."""

from noiseproof.cluster.driver import conduct_on_ray

__all__ = ["conduct_on_ray"]
