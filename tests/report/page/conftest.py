"""Pages of records made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from noiseproof.report import (
    CLAIMS,
    Judged,
    Results,
    compare,
    from_records,
    published,
    published_beside,
    table,
)
from noiseproof.report.page import render_page
from noiseproof.study import Record

MakeRecord = Callable[..., Record]
MakePage = Callable[..., str]

EPOCHS = 12
NOISES = {  # of four samples, two of each class
    "symmetric:0.2": [[2, 0], [1, 1]],
    "symmetric:0.5": [[1, 1], [1, 1]],
    "asymmetric:0.4": [[1, 1], [0, 2]],
}


@pytest.fixture
def records(make_record: MakeRecord) -> list[Record]:
    """Three losses under three settings from two seeds; CE memorizes, the others do not."""
    made = []
    for place, loss in enumerate(("ce", "nce", "nce+mae")):
        for setting, counts in NOISES.items():
            for seed in (0, 1):
                test = [0.3 + 0.05 * place + 0.04 * epoch + 0.01 * seed for epoch in range(EPOCHS)]
                memorized = [0.06 * epoch / (1 + 4 * place) for epoch in range(EPOCHS)]
                made.append(
                    make_record(
                        loss,
                        setting,
                        seed,
                        test=test,
                        memorized=memorized,
                        about_data={"class_names": ["cat", "dog"], "class_map": {"0": 1}},
                        about_noise={"counts": counts},
                    )
                )
    return made


@pytest.fixture
def make_page() -> MakePage:
    """The page of records, as a report makes it."""

    def make(records: Sequence[Record], *, results: Results | None = None, title: str = "a study") -> str:
        results = results or from_records(records)
        study = published()
        matching = published_beside(results)
        tables = [table(results, kind, name=f"table_{kind}", study=matching) for kind in results.kinds]
        judged = [Judged(claim, claim.judge(results), claim.judge(study)) for claim in CLAIMS]
        beside = compare(results, matching) if matching else None
        return render_page(results, records, tables, judged, title=title, beside=beside)

    return make


@pytest.fixture
def page_file(tmp_path: Path, records: list[Record], make_page: MakePage) -> Path:
    """The page of `records` as a file."""
    path = tmp_path / "index.html"
    path.write_text(make_page(records))
    return path
