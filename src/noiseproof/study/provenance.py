"""Where a record comes from: code, machine, library versions, time."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy
import torch

import noiseproof
from noiseproof.schema import Schema


class Provenance(Schema):
    """What a reader needs to know to trust, or repeat, a record.

    ``commit``: of the code's own checkout, with ``+`` if files were changed; None if installed without one.
    ``precision``: what the network was computed in; weights and losses are float32 in any case.
    ``seconds``: this run's share of the training time. ``finished``: UTC.
    """

    noiseproof: str
    commit: str | None
    python: str
    torch: str
    numpy: str
    platform: str
    device: str
    precision: str = "float32"
    threads: int
    seconds: float
    finished: str


def provenance(device: torch.device, *, precision: str, seconds: float) -> Provenance:
    """Describe this process's code, libraries and device, now."""
    return Provenance(
        noiseproof=noiseproof.__version__,
        commit=_commit(),
        python=platform.python_version(),
        torch=torch.__version__,
        numpy=numpy.__version__,
        platform=f"{platform.system()} {platform.machine()}",
        device=_device_name(device),
        precision=precision,
        threads=torch.get_num_threads(),
        seconds=round(seconds, 3),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return device.type


@cache
def _commit() -> str | None:
    checkout = Path(noiseproof.__file__).parents[2]
    # installed into somebody else's repository, the commit would be theirs
    if not (checkout / ".git").exists() or not (checkout / "src" / "noiseproof").is_dir():
        return None
    try:
        head = _git(checkout, "rev-parse", "HEAD")
        return head + ("+" if _git(checkout, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(checkout: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
