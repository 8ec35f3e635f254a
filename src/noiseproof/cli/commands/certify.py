"""``noiseproof certify``: what a loss is, by computation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from noiseproof.cli.options import Classes, parse_loss


def certify(
    loss: Annotated[
        str,
        typer.Argument(
            help="A loss text, such as 'nce+mae' or, of your own, my_losses:MyLoss; or all for the catalogue."
        ),
    ],
    classes: Classes = 10,
    figure: Annotated[
        Path | None, typer.Option(help="Draw the gradients into this .png, .svg or .pdf file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Compute what a loss is: range, symmetry, noise tolerance, gradients; and hold its claims against it."""
    from noiseproof import certificates
    from noiseproof.certificates.figure import check_format, draw_gradients
    from noiseproof.cli.display import show_certificate
    from noiseproof.losses import CATALOGUE, NothingKnownError

    if figure is not None:
        check_format(figure)
    chosen = [parse_loss(text) for text in (CATALOGUE if loss.strip().lower() == "all" else [loss])]
    found = []
    for one in chosen:
        found.append(certificates.certify(one, classes))
        if not as_json:
            try:
                claimed = one.properties(classes)
            except NothingKnownError:
                show_certificate(found[-1], None)
                continue
            tight = type(one) in CATALOGUE.values()
            show_certificate(found[-1], certificates.refuted_claims(claimed, found[-1], tight=tight))
    if as_json:
        import json

        data = [certificate.as_dict() for certificate in found]
        typer.echo(json.dumps(data if len(data) > 1 else data[0], indent=2))
    if figure is not None:
        draw_gradients(found, figure)
        typer.echo(f"figure in {figure}", err=as_json)
