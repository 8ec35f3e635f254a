"""Compile the losses' kernel when the package is built or installed; without a C compiler, do without."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
import zlib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FLAGS = (
    "-std=gnu11",
    "-O3",
    "-pthread",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-shared",
    "-fPIC",
)


PARALLEL = ("-fopenmp", "-fopenmp-simd")
"""Tried in turn: with threads, PyTorch's own, and, where the compiler has none, for one thread."""


class CompileKernel(BuildHookInterface[Any]):
    """Builds ``libkernel.so`` from ``csrc`` and adds it to the wheel, which is then of one platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, unless it is a source distribution that is built."""
        if self.target_name != "wheel":
            return
        folder = Path(self.root, "src", "noiseproof", "losses")
        source, library = folder / "csrc", folder / "libkernel.so"
        unfinished = library.with_suffix(".tmp")
        compiler = [*shlex.split(os.environ.get("CC", "cc")), *FLAGS]
        text = b"".join(path.read_bytes() for path in sorted(source.iterdir()))
        given = [f"-DSOURCE={zlib.crc32(text)}u", "-o", unfinished, source / "kernel.c", "-lm"]
        for parallel in PARALLEL:
            try:
                subprocess.run([*compiler, parallel, *given], check=True)
                break
            except (OSError, subprocess.CalledProcessError) as error:
                print(f"noiseproof: {error}", file=sys.stderr)
        else:
            print("noiseproof: losses will be evaluated by PyTorch alone, no kernel", file=sys.stderr)
            library.unlink(missing_ok=True)
            return
        unfinished.replace(library)
        build_data["pure_python"] = False
        # of one platform, but for any Python: nothing of Python's is compiled
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        build_data["artifacts"].append("/src/noiseproof/losses/libkernel.so")
