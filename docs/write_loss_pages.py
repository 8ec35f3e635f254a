"""Write a page for every loss of the catalogue: docs/losses/NAME.md, with its certificate and its picture.

    python docs/write_loss_pages.py

The presets have one page together, docs/presets.md.

The tests hold the pages against certificates made anew.
"""

from __future__ import annotations

from pathlib import Path

import torch

from noiseproof.certificates import Certificate, certify, refuted_claims
from noiseproof.certificates.figure import draw_gradients
from noiseproof.errors import NoiseproofError
from noiseproof.losses import CATALOGUE, Loss, Preset, presets

PAGES = Path(__file__).parent / "losses"

PRESETS = Path(__file__).parent / "presets.md"

CLASSES = 10

INTRODUCTION = """\
# The losses, each with its certificate

Written by [write_loss_pages.py](../write_loss_pages.py); `noiseproof certify NAME` prints a certificate
again, for any number of classes and any combination. Everything below is computed for {classes} classes.

- **range**: infimum and supremum over all logits and labels, found by an optimiser.
- **constant sum**: the loss adds up to the same over all labels, whatever the logits: robust to symmetric
  noise (Lemma 1 of Ma et al., ICML 2020).
- **asymmetry**: ratio r of a loss of p_y alone (Zhou et al., ICML 2021); 1 is completely asymmetric.
- **symmetric, asymmetric**: the noise rates below which a lemma promises that noise does not move the
  minimiser of the risk. In brackets, up to where an exact experiment on a finite problem sees it stay: rates
  in steps of 0.05, one point a class and 1,500 functions or more. The last step below a promised rate is all
  that can be seen: at the rate itself the noisy labels prefer no class.
- **pull at 1/K**: how hard a right label pulls up the true class when training starts; small: it underfits.
- **push at 0.95**: how hard a wrong label pushes down a class that is nearly certain; large: it memorizes.

"""

LEFT_OUT = """
Any of them can be normalized (`normalized(sce)`), summed (`nce + 4*agce(a=6, q=1.5)`) and corrected by a
known transition matrix (`forward(ce, noise='symmetric:0.4')`, `backward(...)`; Patrini et al., CVPR 2017).
[Presets](../presets.md) are what the authors used, with the source of each number:
`losses.preset("nce+agce", "cifar10")`.

## Left out, for now

What a loss here sees is one sample's logits and its label. These need more:

- state or the sample's index: early-learning regularization (ELR), over-parameterization (SOP), and NLNL's
  later stages, which choose samples;
- several views of each image: the generalized Jensen-Shannon divergence (GJS);
- a whole batch: determinant-based mutual information (DMI), peer loss.

ANL-CE and ANL-FL are `nce + nnce` and `nfl + nnfl` with weights. Their L1 norm of the parameters is not part
of a loss of logits: add `delta * sum(w.abs().sum() for w in model.parameters())`, delta as
`find_preset(...).l1` says; in a study, `l1 = 5e-5` in its recipe.
"""

PRESETS_INTRODUCTION = """\
# Presets

The hyperparameters that the authors of the losses used, read from their own code, at the commits that are
named. Where their MAE is 1 - p_y its weight is halved here, for ours is 2 (1 - p_y). Written by
[write_loss_pages.py](write_loss_pages.py).

```python
from noiseproof import losses

loss_fn = losses.preset("nce+agce", "cifar10")
loss_fn = losses.preset("js", "cifar10", "symmetric:0.4")  # where the authors chose by noise
losses.find_preset("anl-ce", "cifar10").l1  # factor of the parameters' L1 norm, which is for you to add
```

"""


def page(loss: Loss, certificate: Certificate) -> str:
    """Give the page's text."""
    refuted = refuted_claims(loss.properties(CLASSES), certificate)
    if refuted:
        raise SystemExit(f"{loss}: {'; '.join(refuted)}")
    known = [preset for preset in presets() if preset.method == loss.name]
    lines = [
        f"# {loss.name}: {loss.title}",
        "",
        f"    {loss} = {loss.equation}",
        "",
        f"{loss.source}. {takes_probabilities(loss)}",
        "",
        "## Certificate",
        "",
        "```",
        str(certificate),
        "```",
        "",
        f"![Forces of {loss.name} and of cross entropy on the true class]({loss.name}.png)",
        "",
        *(preset_table(known) if known else []),
    ]
    return "\n".join(lines).rstrip() + "\n"


def takes_probabilities(loss: Loss) -> str:
    """Say whether the loss takes soft targets."""
    try:
        loss(torch.zeros(1, 2), torch.full((1, 2), 0.5))
    except NoiseproofError:
        return "Takes class indices only."
    return "Takes class indices, or probabilities of the logits' shape."


def preset_table(known: list[Preset]) -> list[str]:
    """Give the presets of this loss alone."""
    return [
        "## As its authors used it",
        "",
        "| data | noise | loss | source |",
        "| --- | --- | --- | --- |",
        *(f"| {p.dataset} | {p.noise or 'any'} | `{p.loss}` | {p.paper}: {p.code} |" for p in known),
    ]


def presets_page() -> str:
    """Give the page of all presets."""
    rows = [
        f"| {p.method} | {p.dataset} | {p.noise or 'any'} | `{p.loss}` | {p.l1 or ''} | {p.paper} |"
        for p in presets()
    ]
    sources = dict.fromkeys(f"- {p.paper}: {p.code}" for p in presets())
    return PRESETS_INTRODUCTION + "\n".join(
        [
            "| method | data | noise | loss | l1 | source |",
            "| --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            "The code that they are read from:",
            "",
            *sources,
            "",
        ]
    )


def index(certificates: dict[str, Certificate]) -> str:
    """Give the page that lists them all."""
    header = (
        *("loss", "range", "kind", "constant sum", "asymmetry", "symmetric", "asymmetric"),
        *("pull at 1/K", "push at 0.95"),
    )
    rows = [header, ("---",) * len(header)]
    for name, found in certificates.items():
        shown = dict(found.lines())
        rows.append(
            (
                f"[{name}]({name}.md)",
                shown["range"],
                shown["kind"],
                f"{found.least_sum.value:.4g}" if found.constant_sum else "no",
                "" if found.asymmetry is None else f"{found.asymmetry:.3g}",
                rate_text(found.symmetric_rate, found.symmetric.agrees_up_to),
                rate_text(found.asymmetric_rate, found.asymmetric.agrees_up_to),
                f"{found.gradients.at(1 / CLASSES)[0]:.2g}",
                f"{found.gradients.at(0.95)[1]:.2g}",
            )
        )
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return INTRODUCTION.format(classes=CLASSES) + table + "\n" + LEFT_OUT


def rate_text(promised: float, seen: float) -> str:
    """Give a rate that is promised, and the one that was seen."""
    return f"{promised:.3g} ({seen:g})"


def main() -> None:
    """Write every page, picture and the index."""
    torch.set_num_threads(1)
    PAGES.mkdir(exist_ok=True)
    certificates = {name: certify(name, CLASSES) for name in CATALOGUE}
    for name, certificate in certificates.items():
        (PAGES / f"{name}.md").write_text(page(CATALOGUE[name](), certificate))
        beside = [certificate] if name == "ce" else [certificates["ce"], certificate]
        draw_gradients(beside, PAGES / f"{name}.png")
    (PAGES / "README.md").write_text(index(certificates))
    PRESETS.write_text(presets_page())


if __name__ == "__main__":
    main()
