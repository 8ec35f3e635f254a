"""Where results come from: every distinct value of what their records say of their origin."""

from __future__ import annotations

from collections.abc import Sequence

from noiseproof.study import Record

FILES = {True: "canonical", False: "not the canonical ones", None: "one's own"}


def origin(records: Sequence[Record]) -> dict[str, str]:
    """Give each fact by its name, such as ``{"seeds": "0; 1; 2"}``; values that differ are all listed."""
    facts = {
        "data": [f"{r.data.name}, fingerprint {r.data.fingerprint[:12]}" for r in records],
        "files": [FILES[r.data.canonical] for r in records],
        "network": [r.config.model.model_dump_json() for r in records],
        "recipe": [r.config.recipe.model_dump_json() for r in records],
        "device": [f"{r.provenance.device}, {_number(r.provenance.threads, 'thread')}" for r in records],
        "precision": [r.provenance.precision for r in records],
        "code": [
            f"noiseproof {r.provenance.noiseproof}, commit {r.provenance.commit or 'unknown'}"
            for r in records
        ],
        "libraries": [
            f"Python {r.provenance.python}, torch {r.provenance.torch}, numpy {r.provenance.numpy}"
            for r in records
        ],
        "seeds": [str(r.config.seed) for r in records],
    }
    seconds = sum(r.provenance.seconds for r in records)
    return {name: "; ".join(dict.fromkeys(values)) for name, values in facts.items()} | {
        "training": f"{_number(len(records), 'run')}, {seconds:.0f} s in all"
    }


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
