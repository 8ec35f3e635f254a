"""Put a report's parts on one page: a pure function of results and records, the same bytes for the same."""

from __future__ import annotations

from collections.abc import Sequence

from noiseproof import __version__
from noiseproof.report.claims import NOT_ASKED, Judged
from noiseproof.report.comparison import Comparison
from noiseproof.report.page.curves import panels, thinning
from noiseproof.report.page.headline import findings, lead
from noiseproof.report.page.matrices import matrices, picture
from noiseproof.report.provenance import origin
from noiseproof.report.results import Results
from noiseproof.report.tables import Table
from noiseproof.study import Record


def render_page(
    results: Results,
    records: Sequence[Record],
    tables: Sequence[Table],
    judged: Sequence[Judged],
    *,
    title: str = "",
    beside: Comparison | None = None,
) -> str:
    """Give the page as HTML. All it needs is in it; its texts are escaped, whoever wrote them."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("noiseproof.report.page", package_path=""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.j2").render(
        version=__version__,
        title=title or f"{results.data}: losses under label noise",
        lead=lead(results),
        findings=findings(results, judged),
        tables=tables,
        beside=beside,
        losses=results.losses,
        noises=results.noises,
        kinds={kind: results.settings(kind) for kind in results.kinds},
        runs_per_cell=results.runs_per_cell,
        test=panels(results, "test"),
        memorized=panels(results, "memorized"),
        unverified=[str(setting) for setting in results.noises if setting in results.unverified],
        every=thinning(results),
        judged=judged,
        not_asked=NOT_ASKED,
        matrices=matrices(records, results.noises),
        picture=picture,
        origin=origin(records),
    )
