"""The command line, ``noiseproof COMMAND``: ``commands`` has a file for each."""

from noiseproof.cli.app import main

__all__ = ["main"]
