"""The command line: ``noiseproof run``, ``train``, ``report``, ``losses``, ``audit``."""

from noiseproof.cli.app import main

__all__ = ["main"]
