"""The commands. Each imports what it needs when it runs, so that ``--help`` stays quick."""

from __future__ import annotations

import sys
import warnings
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from noiseproof import __version__
from noiseproof.cli.durations import parse_duration
from noiseproof.errors import NoiseproofError, did_you_mean, one_line

if TYPE_CHECKING:
    from noiseproof.data import Dataset
    from noiseproof.study import Outcome, Study

INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell gives it."""

PLACES = ("here", "ray")
"""Where a study's runs are trained."""

app = typer.Typer(
    name="noiseproof",
    help="Losses for PyTorch that tolerate wrong labels, and the bench that proves them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

STUDIES = sorted(
    entry.name.removesuffix(".toml")
    for entry in resources.files("noiseproof").joinpath("study", "library").iterdir()
    if entry.name.endswith(".toml")
)

DATA = "digits, cifar10, cifar100, mnist, fashion-mnist, folder:PATH, folder:PATH@SIZE or npz:FILE."

NOISES = "symmetric:0.4, asymmetric:0.3, pairflip:0.2, instance:0.4, human:worst, given or none."

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
DataDir = Annotated[
    Path | None, typer.Option(help="Folder of the data set's files; without it they are downloaded.")
]
TimeBudget = Annotated[
    str | None, typer.Option(help="Save everything and stop after this long, such as 9m, 90s or 1h30m.")
]
TensorBoardDir = Annotated[
    Path | None, typer.Option("--tensorboard", help="Folder for TensorBoard: each run's epochs.")
]


def main() -> None:
    """Run the command line; bad input is one line on standard error and exit code 2."""
    warnings.showwarning = _show_warning
    try:
        app()
    except NoiseproofError as error:
        _fail(str(error), code=2)
    except OSError as error:  # a full disk, a folder removed meanwhile: what is recorded stays whole
        reason = error.strerror or str(error)
        _fail(f"{reason}: {error.filename}" if error.filename else reason, code=1)


@app.callback(invoke_without_command=True)
def _options(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"noiseproof {__version__}")
        raise typer.Exit


@app.command()
def run(
    study: Annotated[
        str, typer.Argument(help=f"A built-in study ({', '.join(STUDIES)}) or a .toml file.")
    ] = "digits",
    out: Annotated[
        Path | None, typer.Option(help="Folder for records and report; out/<study> by default.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds 0 to N-1 in place of the study's own.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a setting, such as recipe.epochs=5; may be repeated."),
    ] = None,
    device: Device = "auto",
    data_dir: DataDir = None,
    time_budget: TimeBudget = None,
    on: Annotated[str, typer.Option(help="here, or ray: as tasks over a Ray cluster.")] = "here",
    tensorboard: TensorBoardDir = None,
) -> None:
    """Conduct a study: train every run that has no record yet, then print and write the report."""
    from noiseproof.study import load_study
    from noiseproof.study.study import MOST_RUNS

    budget = None if time_budget is None else parse_duration(time_budget)
    changes = dict(_setting(text) for text in settings or ())
    if seeds is not None:
        if seeds < 1:
            raise NoiseproofError(f"--seeds must be at least 1, got {seeds}")
        if seeds > MOST_RUNS:
            raise NoiseproofError(f"--seeds must be at most {MOST_RUNS}, got {seeds}")
        changes["seeds"] = list(range(seeds))
    chosen = load_study(study, changes)
    folder = out or Path("out") / Path(study).stem
    outcome = _conduct(chosen, folder, device, data_dir, budget, on=on, tensorboard=tensorboard)
    page = _report(folder) if outcome.runs_done else None
    _finish(outcome, folder, page)


@app.command()
def train(
    loss: Annotated[str, typer.Option(help="A loss text, such as 'nce+mae' or '2*nfl(gamma=0.5)+rce'.")],
    data: Annotated[str, typer.Option(help=DATA)] = "digits",
    noise: Annotated[str, typer.Option(help=NOISES)] = "none",
    epochs: Annotated[
        int | None, typer.Option(help="Epochs; by default those of the data set's study, or 50.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="mlp, cnn4, cnn8, resnet18, resnet34, or a function of your own such as my_nets:make."
        ),
    ] = None,
    width: Annotated[int | None, typer.Option(help="Channels of a ResNet's first stage.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides noise, initial weights and batches.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the record; one of its own under out/train by default.")
    ] = None,
    device: Device = "auto",
    data_dir: DataDir = None,
    time_budget: TimeBudget = None,
    tensorboard: TensorBoardDir = None,
) -> None:
    """Train one network with one loss under one noise."""
    from noiseproof import data as data_sets
    from noiseproof import losses
    from noiseproof import noise as label_noise
    from noiseproof.study import load_study, study_for

    budget = None if time_budget is None else parse_duration(time_budget)
    data_sets.check_name(data)
    changes: dict[str, Any] = {"title": "", "losses": [loss], "noises": [noise], "seeds": [seed]}
    if model is not None:
        changes["model"] = {"name": "factory", "path": model} if ":" in model else {"name": model}
    if width is not None:
        changes["model.width"] = width
    if epochs is not None:
        changes["recipe.epochs"] = epochs
    dataset = None
    if data in STUDIES:
        study = load_study(data, changes)
    else:
        # a slip in a text need not wait for the data
        losses.parse(loss)
        label_noise.parse(noise)
        dataset = data_sets.load(data, data_dir)
        study = study_for(dataset, changes)
    (config,) = study.runs()
    folder = out or Path("out") / "train" / f"{config.id}_{config.hash}"
    outcome = _conduct(study, folder, device, data_dir, budget, dataset=dataset, tensorboard=tensorboard)
    if outcome.ended == "finished":
        from noiseproof.cli.display import show_run
        from noiseproof.study import Archive

        show_run(Archive(folder).finished()[config.id], folder / "runs" / f"{config.id}.json")
    _finish(outcome, folder)


@app.command()
def tune(
    study: Annotated[
        str,
        typer.Argument(help=f"Data, network and recipe: a study ({', '.join(STUDIES)}) or a .toml file."),
    ],
    loss: Annotated[
        str, typer.Option(help="A loss text with names where numbers stand, such as 'alpha*nce + beta*mae'.")
    ],
    noise: Annotated[
        str | None, typer.Option(help=f"{NOISES} The study's by default, if it has but one.")
    ] = None,
    ranges: Annotated[
        list[str] | None,
        typer.Option("--range", help="Where a name is searched, such as alpha=0.1:10:log; may be repeated."),
    ] = None,
    trials: Annotated[int, typer.Option(help="Trials in all, those that are done included.")] = 50,
    holdout: Annotated[
        float, typer.Option(help="Share of the training set whose noisy labels give the scores.")
    ] = 0.2,
    seed: Annotated[
        int, typer.Option(min=0, help="Decides noise, split, initial weights, batches and search.")
    ] = 0,
    batch: Annotated[int, typer.Option(help="Trials proposed, and trained, together.")] = 8,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for trials and report; one of its own under out/tune by default."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a setting, such as recipe.epochs=5; may be repeated."),
    ] = None,
    device: Device = "auto",
    data_dir: DataDir = None,
    time_budget: TimeBudget = None,
) -> None:
    """Search the numbers in a loss by held-out noisy labels, then print and write what was found."""
    from noiseproof import tuning
    from noiseproof.cli.display import show_findings
    from noiseproof.cli.progress import ProgressDisplay
    from noiseproof.interruption import Interruption
    from noiseproof.study import load_study

    budget = None if time_budget is None else parse_duration(time_budget)
    if trials < 1:
        raise NoiseproofError(f"--trials must be at least 1, got {trials}")
    search = tuning.Search.of(
        load_study(study, dict(_setting(text) for text in settings or ())),
        loss,
        noise=noise,
        ranges=dict(_range(text) for text in ranges or ()),
        seed=seed,
        holdout=holdout,
        batch=batch,
    )
    name = f"{Path(study).stem}_{search.noise.replace(':', '-')}_{search.hash}"
    folder = out or Path("out") / "tune" / name
    with Interruption() as interruption, ProgressDisplay() as display:
        outcome = tuning.tune(
            search,
            folder,
            trials=trials,
            device=device,
            data_dir=data_dir,
            time_budget=budget,
            interrupted=interruption.requested,
            on_progress=display.show,
        )
    if outcome.runs_done:
        show_findings(tuning.write_report(folder))
    _finish(outcome, folder)


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="What --out was.")]) -> None:
    """Rebuild and print every table, figure and claim from the records alone."""
    page = _report(folder)
    typer.echo(f"report in {folder / 'report'}")
    typer.echo(f"to look at: {page}")


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Two or more folders, each what an --out was.")],
) -> None:
    """Rank results by how near they come to the published study, on the cells that all of them have."""
    from noiseproof.cli.display import show_nearest
    from noiseproof.report import load_results, nearest, published, published_beside

    candidates = {str(folder): load_results(folder) for folder in folders}
    studies = {study.citation: study for study in map(published_beside, candidates.values()) if study}
    if len(studies) > 1:
        raise NoiseproofError(f"these are results of different studies: {'; '.join(studies)}")
    show_nearest(nearest(candidates, next(iter(studies.values()), published())))


@app.command()
def losses(classes: Annotated[int, typer.Option(help="Number of classes K.")] = 10) -> None:
    """List every loss with what is known of it."""
    from noiseproof.cli.display import show_losses

    if classes < 2:
        raise NoiseproofError(f"--classes must be at least 2, got {classes}")
    show_losses(classes)


@app.command()
def certify(
    loss: Annotated[str, typer.Argument(help="A loss text, such as 'nce+mae', or all for the catalogue.")],
    classes: Annotated[int, typer.Option(help="Number of classes K.")] = 10,
    figure: Annotated[
        Path | None, typer.Option(help="Draw the gradients into this .png, .svg or .pdf file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Compute what a loss is: range, symmetry, noise tolerance, gradients; and hold its claims against it."""
    from noiseproof import certificates
    from noiseproof.certificates.figure import check_format, draw_gradients
    from noiseproof.cli.display import show_certificate
    from noiseproof.losses import CATALOGUE, parse

    if figure is not None:
        check_format(figure)
    chosen = [parse(text) for text in (CATALOGUE if loss.strip().lower() == "all" else [loss])]
    found = []
    for one in chosen:
        found.append(certificates.certify(one, classes))
        if not as_json:
            refuted = certificates.refuted_claims(
                one.properties(classes), found[-1], tight=type(one) in CATALOGUE.values()
            )
            show_certificate(found[-1], refuted)
    if as_json:
        import json

        data = [json.loads(certificate.as_json()) for certificate in found]
        typer.echo(json.dumps(data if len(data) > 1 else data[0], indent=2))
    if figure is not None:
        draw_gradients(found, figure)
        typer.echo(f"figure in {figure}", err=as_json)


@app.command()
def audit(
    noise: Annotated[str, typer.Argument(help=NOISES)],
    data: Annotated[str, typer.Option(help=DATA)] = "digits",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise.")] = 0,
    data_dir: DataDir = None,
) -> None:
    """Draw label noise and show the matrix asked for beside the one achieved."""
    from noiseproof import data as data_sets
    from noiseproof import noise as label_noise
    from noiseproof.study.labels import training_labels

    setting = label_noise.parse(noise)
    dataset = data_sets.load(data, data_dir)
    labels = training_labels(setting, dataset, seed=seed, data_dir=data_dir)
    if labels.audit is None:
        raise NoiseproofError(
            f"the clean labels of {dataset.name} are not known, so there is nothing to audit"
        )
    typer.echo(str(labels.audit))


def _conduct(
    study: Study,
    out: Path,
    device: str,
    data_dir: Path | None,
    budget: float | None,
    *,
    dataset: Dataset | None = None,
    on: str = "here",
    tensorboard: Path | None = None,
) -> Outcome:
    if on not in PLACES:
        raise NoiseproofError(f"--on must be a place to train, got {on!r}; {did_you_mean(on, PLACES)}")

    from noiseproof.cli.progress import ProgressDisplay
    from noiseproof.cluster import conduct_on_ray
    from noiseproof.interruption import Interruption
    from noiseproof.study import conduct
    from noiseproof.tracking import TensorBoard

    more: dict[str, Any] = {} if dataset is None else {"dataset": dataset}
    if tensorboard is not None:
        more["on_epoch"] = TensorBoard(tensorboard)
    with Interruption() as interruption, ProgressDisplay() as display:
        return (conduct if on == "here" else conduct_on_ray)(
            study,
            out,
            device=device,
            data_dir=data_dir,
            time_budget=budget,
            interrupted=interruption.requested,
            on_progress=display.show,
            **more,
        )


def _report(folder: Path) -> Path:
    from noiseproof.cli.display import show_report
    from noiseproof.report import write_report

    report = write_report(folder)
    show_report(report)
    return report.page


def _finish(outcome: Outcome, folder: Path, page: Path | None = None) -> None:
    done = f"{outcome.runs_done} of {outcome.runs_total} runs done"
    typer.echo(f"{done}, {outcome.training_seconds:.0f} s of training; everything is in {folder}")
    if page is not None:
        typer.echo(f"to look at: {page}")
    if outcome.ended != "finished":
        typer.echo(f"{outcome.ended}: the same command goes on from here")
    if outcome.ended == "interrupted":
        raise typer.Exit(INTERRUPTED)


def _setting(text: str) -> tuple[str, Any]:
    import tomllib

    name, equals, value = text.partition("=")
    if not equals:
        raise NoiseproofError(f"--set must be NAME=VALUE, such as recipe.epochs=5, got {text!r}")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):  # no TOML, so a text
        return name.strip(), value.strip()


def _range(text: str) -> tuple[str, str]:
    name, equals, range = (part.strip() for part in text.partition("="))
    if not equals:
        raise NoiseproofError(f"--range must be NAME=LOW:HIGH or NAME=LOW:HIGH:log, got {text!r}")
    return name, range


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    typer.echo(f"warning: {message}", err=True)


def _fail(message: str, *, code: int) -> None:
    typer.echo(f"error: {one_line(message)}", err=True)
    sys.exit(code)
