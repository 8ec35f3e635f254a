"""Whether Triton can launch a kernel here: it may be installed without what it needs to."""

from __future__ import annotations

import warnings
from functools import cache

import torch

from noiseproof.errors import one_line
from noiseproof.losses.formula import Term

TERM = Term(1.0, "log")
"""What is tried: where there is no compiler, or the GPU is too old, every loss fails alike."""

LONGEST_CAUSE = 300
"""Characters of what went wrong that the warning shows: a compiler may say a lot."""


@cache
def triton_launches(device: torch.device, dtype: torch.dtype) -> bool:
    """Tell whether a kernel can be launched, from a launch that is tried once and not waited for.

    Triton compiles a launcher in C and a kernel for the device; where either fails, a warning says why.
    """
    logits = torch.zeros(1, 2, dtype=dtype, device=device)
    target = torch.zeros(1, dtype=torch.long, device=device)
    try:
        # not before it is needed: Triton takes a second to import
        from noiseproof.losses.triton_kernel import gradient, statistics

        values, kept = statistics(logits, (TERM,), target, ignore_index=-100, weight=None)
        gradient(logits, (TERM,), target, kept, values, torch.empty_like(logits))
    except torch.OutOfMemoryError:  # which says nothing of Triton
        raise
    except Exception as error:
        cause = one_line(f"{type(error).__name__}: {error}")[:LONGEST_CAUSE]
        warnings.warn(
            f"Triton cannot launch a kernel for {dtype} on {device} ({cause}); losses are evaluated by plain"
            " PyTorch there, which takes more time and memory",
            stacklevel=2,
        )
        return False
    return True
