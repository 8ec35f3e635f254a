"""The command line: ``noiseproof run``, ``train``, ``tune``, ``report``, ``losses``, ``audit``."""

from noiseproof.cli.app import main

__all__ = ["main"]
