"""What is installed works without the repository: the wheel of the sdist, and a study run by it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LIBRARY = "losses/libkernel.so"


def python(*arguments: str, cwd: Path, path: Path | None = None) -> str:
    """Run Python in ``cwd``; its packages are looked for in ``path`` first, if that is given."""
    first = {} if path is None else {"PYTHONPATH": str(path)}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **first},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files(folder: Path) -> set[str]:
    """Every file of the package but for what Python and the compiler leave."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if "__pycache__" not in path.parts} - {LIBRARY}


@pytest.mark.slow
def test_the_wheel_of_the_sdist_works_without_the_repository(tmp_path: Path) -> None:
    # the wheel is built from the sdist, which so holds all that it takes
    python("-m", "build", "--outdir", str(tmp_path / "dist"), str(ROOT), cwd=tmp_path)
    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with tarfile.open(sdist) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {"hatch_build.py", "src/noiseproof/losses/csrc/kernel.c", "LICENSE", "README.md"} <= names

    here = tmp_path / "installed"
    python("-m", "pip", "install", "--quiet", "--no-deps", "--target", str(here), str(wheel), cwd=tmp_path)
    package = here / "noiseproof"
    assert files(package) == files(ROOT / "src" / "noiseproof")
    assert {"py.typed", "study/library/digits.toml", "losses/presets.toml"} <= files(package)
    compiled = (package / LIBRARY).exists()
    assert compiled == (not wheel.name.endswith("-any.whl"))

    def noiseproof(*arguments: str) -> str:
        return python("-m", "noiseproof", *arguments, cwd=tmp_path, path=here)

    where = "from noiseproof.losses import kernel; print(kernel.__file__, kernel.is_there())"
    found = python("-c", where, cwd=tmp_path, path=here)
    assert found.split() == [str(package / "losses" / "kernel.py"), str(compiled)]
    assert "Combine them as text" in noiseproof("losses")
    assert "all borne out" in noiseproof("certify", "nce+mae")
    assert "6 of 6 runs done" in noiseproof("run", "smoke")
    assert (
        "holds" in (tmp_path / "out" / "smoke" / "report" / "claims.csv").read_text()
    )  # of the study's tables
    for path in (tmp_path / "out" / "smoke" / "runs").iterdir():
        assert json.loads(path.read_text())["provenance"]["commit"] is None
    assert (here / "bin" / "noiseproof").exists()
