"""The command line: thin, one function a command, the same names as in Python."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from wavesim.config import RunConfig, parse
from wavesim.config import load as load_config
from wavesim.errors import WavesimError
from wavesim.info import columns, info_text

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Waves through granular matter, computed exactly once and forecast ever after.",
)
generate = typer.Typer(no_args_is_help=True, help="Make packings, their jamming diagram, or waves.")
app.add_typer(generate, name="generate")

Out = Annotated[Path, typer.Option(help="folder to write to; a second call goes on where the first stopped")]
Seed = Annotated[int, typer.Option(min=0, help="everything random is a function of it")]
Workers = Annotated[int, typer.Option(min=1, help="processes, of one thread each")]
Scheduler = Annotated[
    str | None, typer.Option(help="address of a scheduler of dask's, tcp://HOST:PORT: its workers do it instead")
]
Settings = Annotated[
    str, typer.Option("--config", help="a preset (demo, quick), or a TOML file with the tables packings, waves, "
                                       "forecaster, training, pruning")
]  # fmt: skip
Data = Annotated[Path, typer.Option(help="a dataset's folder, made by `wavesim generate waves`")]


def settings(name: str) -> RunConfig:
    """A preset, or a TOML file's settings.

    Raises:
        WavesimError: neither a preset nor a file; unknown keys; values out of range.
    """
    if name == "demo":
        return RunConfig()
    preset = resources.files("wavesim") / "presets" / f"{name}.toml"
    if "/" not in name and not name.endswith(".toml"):
        if not preset.is_file():
            raise WavesimError(f"unknown preset '{name}'; presets: demo, quick; or give a .toml file")
        with resources.as_file(preset) as path:
            return load_config(path)
    return load_config(name)


@app.command()
def demo(
    out: Out = Path("runs/demo"),
    seed: Seed = 0,
    config: Settings = "demo",
    workers: Workers = 2,
) -> None:
    """The whole path: packings, FE truth, two forecasters, pruning, evaluation, report (minutes on two cores)."""
    from wavesim.demo import run_demo
    from wavesim.report import summary

    report = run_demo(out, settings(config), seed, workers)
    typer.echo(summary(out))
    typer.echo(f"report: {report}\nwatch:  wavesim view {out}")


@generate.command("packings")
def generate_packings(
    out: Out = Path("runs/packings"),
    seed: Seed = 0,
    config: Settings = "demo",
    workers: Workers = 2,
    dim: Annotated[int | None, typer.Option(min=2, max=3, help="2: disks, 3: spheres; default: 2")] = None,
    particles: Annotated[int | None, typer.Option(min=2, help="in one packing; default: 256")] = None,
    size_ratio: Annotated[
        float | None, typer.Option(min=0.1, max=1, help="small diameter over large diameter; default: 1/1.4")
    ] = None,
    small_fraction: Annotated[
        float | None, typer.Option(min=0, max=1, help="area (volume) of the small ones; default: half of the particles")
    ] = None,
    n: Annotated[int | None, typer.Option(min=1, help="packings; a larger number adds to them; default: 1")] = None,
) -> None:
    """Jam bidisperse packings with LAMMPS: OUT/packings.h5, with phi_J, coordination, rattlers and bulk modulus.

    With any of --dim, --particles, --size-ratio, --small-fraction and --n: so many packings of that one mixture,
    compressed stepwise from a dilute state. With none: the packings of the settings, quenched.
    """
    from wavesim.granular import Mixture, generate_mixture
    from wavesim.granular import generate_packings as generate_them

    if (dim, particles, size_ratio, small_fraction, n) == (None,) * 5:
        rows = generate_them(settings(config).packings, out, seed, workers)
    elif config != "demo":
        raise WavesimError(f"--config {config} and a mixture's own options exclude each other: leave out one of them")
    else:
        mixture = Mixture(particles or 256, size_ratio or 1 / 1.4, small_fraction, dim or 2)
        rows = generate_mixture(mixture, n or 1, out, seed, workers)
    typer.echo(columns(rows, ("name", "size_ratio", "phi_j", "coordination", "rattler_fraction", "bulk_modulus")))


@generate.command("diagram")
def generate_diagram(
    out: Out = Path("runs/diagram"),
    dim: Annotated[int, typer.Option(min=2, max=3, help="2: disks, 3: spheres")] = 3,
    size_ratios: Annotated[str, typer.Option(help="small over large diameter, separated by commas")] = "0.73,0.4",
    fractions: Annotated[
        str, typer.Option(help="X_S, volume of the small ones over that of all, separated by commas")
    ] = "0,0.1,0.2,0.3,0.4,0.5,0.7,0.9,1",
    particles: Annotated[int, typer.Option(min=2, help="in one packing")] = 500,
    seeds: Annotated[int, typer.Option(min=1, help="packings of each mixture; a larger number adds to them")] = 3,
    seed: Seed = 0,
    workers: Workers = 2,
) -> None:
    """Sweep the jamming diagram: phi_J, bulk modulus, its parts and who carries, with the spread over seeds."""
    from wavesim.granular.diagram import generate_diagram as generate_it
    from wavesim.granular.diagram import points
    from wavesim.granular.diagram_figure import draw

    mixtures = points(_numbers("--size-ratios", size_ratios), _numbers("--fractions", fractions), particles, dim)
    rows = generate_it(mixtures, seeds, out, seed, workers)
    draw(rows, out / "diagram.png")
    shown = ("size_ratio", "small_fraction", "packings", "phi_j", "phi_j_deviation", "bulk_modulus", "coordination")
    typer.echo(columns(rows, shown))


@generate.command("waves")
def generate_waves(
    what: Annotated[
        str,
        typer.Argument(
            metavar="PRESET|CONFIG.toml",
            help="cavity, layers, random, lens, packing or packing-smooth; or a TOML file that says `preset = NAME`, "
            "or has a table waves; `wavesim settings --config NAME` prints one to edit",
        ),
    ] = "packing",
    out: Out = Path("runs/waves"),
    n: Annotated[int | None, typer.Option(min=1, help="trajectories; default: 64, or `pulses` a packing")] = None,
    seed: Seed = 0,
    workers: Workers = 2,
    packings: Annotated[
        Path | None, typer.Option(help="packings.h5, made by `wavesim generate packings`, or its folder")
    ] = None,
    scheduler: Scheduler = None,
    device: Annotated[
        str | None, typer.Option(help="of torch, for the time steps: cpu, cuda, cuda:0, mps; default: compiled loops")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what it takes, from a short trial, and stop")] = False,
) -> None:
    """Run FE waves through a preset's media: a dataset in The Well's layout, split by medium."""
    from wavesim.fem.plan import plan_dataset
    from wavesim.fem.trial import estimate
    from wavesim.fem.waves import carry_out, require_room
    from wavesim.granular.storage import find_packings
    from wavesim.preset_config import dataset_config

    found = None if packings is None else find_packings(packings)
    config = dataset_config(what)
    if device is not None:
        config = config.model_copy(update={"device": device})
    plan = plan_dataset(config, found, out, seed, n)
    if dry_run:
        summary = estimate(plan, workers)
        require_room(out, int(summary["gigabytes"] * 1e9))
    else:
        summary = carry_out(plan, workers, scheduler=scheduler)
    typer.echo("\n".join(f"{key}: {value}" for key, value in summary.items()))


@app.command()
def check(
    data: Annotated[Path, typer.Argument(help="a dataset's folder")],
    sample: Annotated[int, typer.Option(min=0, help="trajectories to run once more; takes dolfinx")] = 1,
) -> None:
    """Check a dataset: layout, finite values, checksums, splits; and a sample of it against the FE run again."""
    from wavesim.dataset import check as check_it
    from wavesim.verify import verify

    counts = check_it(data)
    typer.echo(f"{data}: whole; " + ", ".join(f"{n} {split}" for split, n in counts.items()) + " trajectories")
    with _clock(f"run {sample} again") if sample else nullcontext():
        findings = verify(data, sample)
    typer.echo("\n".join(findings))


@app.command("import")
def import_dataset(
    source: Annotated[
        Path,
        typer.Argument(
            help="an acoustic file of The Well, or a folder with data/SPLIT/*.hdf5; or packings: .data, .dump, .vtu"
        ),
    ],
    out: Annotated[Path, typer.Option(help="folder of the dataset; a second call goes on where the first stopped")],
    split: Annotated[str, typer.Option(help="train, valid or test: where one file's trajectories go")] = "test",
) -> None:
    """Make a dataset of The Well's acoustic files, or packings.h5 of LAMMPS's files: those in equilibrium, measured."""
    from wavesim.granular.exchange import SUFFIXES, import_packings
    from wavesim.well import import_well

    if source.suffix in SUFFIXES:
        typer.echo(f"{out}: {len(import_packings(source, out))} packings in mechanical equilibrium")
        return
    with _clock(f"import {source}"):
        counts = import_well(source, out, split)
    typer.echo(f"{out}: " + ", ".join(f"{n} {split}" for split, n in counts.items()) + " trajectories")


@app.command()
def train(
    data: Data,
    out: Annotated[Path, typer.Option(help="model file to write, .safetensors")],
    convolution: Annotated[str | None, typer.Option(help="classical or one-way; default: as in the settings")] = None,
    seed: Seed = 0,
    config: Settings = "demo",
    device: Annotated[str, typer.Option(help="cpu; cuda, cuda:0, ... or mps where there is one")] = "cpu",
) -> None:
    """Train a forecaster on growing unrolls; the best over 32 frames of 8 validation trajectories is kept."""
    from tqdm import tqdm

    from wavesim.config import ForecasterConfig
    from wavesim.surrogate import train as train_it

    chosen = settings(config)
    update = {} if convolution is None else {"convolution": convolution}
    forecaster = parse({**chosen.forecaster.model_dump(), **update}, ForecasterConfig, "--convolution")
    if out.suffix != ".safetensors":
        raise WavesimError(f"--out {out} must end in .safetensors")
    with tqdm(total=chosen.training.iterations, desc="train", disable=None) as bar:
        train_it(forecaster, chosen.training, data, out, seed, _shown(bar), device)
    typer.echo(info_text(out))


@app.command()
def prune(
    model: Annotated[Path, typer.Argument(help="a trained model, .safetensors")],
    data: Data,
    out: Annotated[Path, typer.Option(help="model file to write, .safetensors")],
    method: Annotated[str | None, typer.Option(help="sap or structured-sap; default: as in the settings")] = None,
    scope: Annotated[str | None, typer.Option(help="global, layer or neuron; default: as in the settings")] = None,
    seed: Seed = 0,
    config: Settings = "demo",
) -> None:
    """Prune a model in rounds by the PQ index, and write it physically smaller."""
    from tqdm import tqdm

    from wavesim.config import PruningConfig
    from wavesim.pruning import prune as prune_it

    chosen = settings(config)
    update = {key: value for key, value in {"method": method, "scope": scope}.items() if value is not None}
    pruning = parse({**chosen.pruning.model_dump(), **update}, PruningConfig, "--method, --scope")
    with tqdm(total=pruning.rounds * pruning.iterations, desc="prune", disable=None) as bar:
        rows = prune_it(model, data, pruning, chosen.training, out, seed, _shown(bar))
    typer.echo(columns(rows, ("round", "pq_index", "parameters", "macs_per_frame", "validation_error")))


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="a run's folder, one of models, or one model's .safetensors file")],
    data: Annotated[Path | None, typer.Option(help="a dataset's folder; default: the one with the run")] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder for results.json and ONNX files; default: RUN/evaluation")
    ] = None,
    ladder: Annotated[
        bool,
        typer.Option(
            help="run the FE ladder of equal errors too (needs dolfinx); for one model --no-ladder takes half the time"
        ),
    ] = True,
) -> None:
    """Errors against the FE truth over the test split, beside cost, floor, and the best FE run of equal error."""
    from wavesim.evaluate import evaluate as evaluate_them
    from wavesim.provenance import write_json
    from wavesim.report import as_text
    from wavesim.viz.session import find_run

    if run.suffix == ".safetensors":
        if data is None:
            raise WavesimError(f"{run} is one model; name the dataset to evaluate it on with --data")
        models = {run.stem: run}
    else:
        models, found = find_run(run)
        data = data or found
    out = out or (run.parent if run.suffix == ".safetensors" else run) / "evaluation"
    with _clock(f"evaluate {', '.join(models)}"):
        results = evaluate_them(models, data, out, ladder)
    write_json(out / "results.json", results)
    typer.echo(as_text(results))


@app.command()
def export(
    source: Annotated[Path, typer.Argument(help="a model's .safetensors file, a dataset's folder, or a packings.h5")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="a model: path without suffix, default: the model's; a trajectory: .xdmf file, default: "
            "DATASET-xdmf/SPLIT_NUMBER.xdmf, beside the dataset; packings: .data, .dump (all of them), .vtu or .png"
        ),
    ] = None,
    grid: Annotated[int, typer.Option(min=8, help="cells along each side that the ONNX graphs are made for")] = 64,
    batch: Annotated[int, typer.Option(min=1, help="trajectories at once that the ONNX graphs are made for")] = 1,
    split: Annotated[str, typer.Option(help="train, valid or test: where the trajectory is")] = "test",
    trajectory: Annotated[int, typer.Option(min=0, help="number of the trajectory in its split")] = 0,
    packing: Annotated[int, typer.Option(min=0, help="number of the packing in its file")] = 0,
) -> None:
    """Write a model as ONNX (a graph for the medium, one for a frame), a trajectory as XDMF, a packing for LAMMPS."""
    if source.is_file() and source.suffix == ".h5":
        from wavesim.granular.exchange import export_packings

        typer.echo(export_packings(source, out or source.with_name(f"{source.stem}_{packing}.data"), packing))
        return
    if source.is_dir():
        from wavesim.dataset import WaveDataset
        from wavesim.viz.paraview import write_xdmf

        chosen, folder = WaveDataset(source, split).trajectory(trajectory), source.resolve()
        if out is not None and out.resolve().is_relative_to(folder):
            raise WavesimError(f"--out {out} is in the dataset, whose readers take up .h5 files; give another folder")
        beside = (source if source.name.strip(".") else folder).with_name(f"{folder.name}-xdmf")
        typer.echo(write_xdmf(out or beside / f"{split}_{trajectory}.xdmf", chosen))
        return
    from wavesim.surrogate import export_onnx, load

    for path in export_onnx(load(source), out or source.with_suffix(""), (grid, grid), batch):
        typer.echo(f"{path}  {path.stat().st_size / 1e3:.1f} kB")


@app.command()
def view(
    run: Annotated[Path, typer.Argument(help="a run's folder, or a folder of models such as data/models/demo")],
    record: Annotated[Path | None, typer.Option(help="write a film (.mp4 or .gif) instead of opening a window")] = None,
    seconds: Annotated[float | None, typer.Option(help="stop after so many seconds; default: 10 for a film")] = None,
) -> None:
    """Watch truth, forecast and error, live: a click drops a pulse, space pauses, keys switch forecaster or packing."""
    import torch

    from wavesim.viz.session import open_run
    from wavesim.viz.window import run_window

    torch.set_num_threads(1)  # the solver's process and the window need the other cores
    with open_run(run) as session:
        film = run_window(session, record=record, seconds=seconds)
        if session.why_recorded:
            typer.echo(f"the truth was recorded, not live: {session.why_recorded}", err=True)
        if film:
            typer.echo(film)


@app.command("settings")
def print_settings(config: Settings = "demo") -> None:
    """Print all settings, or those of a preset of waves, with what they mean, as a TOML file to edit and give back."""
    from wavesim.config import as_toml
    from wavesim.preset_config import NAMES, dataset_config

    if config == "packing-smooth":
        typer.echo(f'preset = "{config}"')
    typer.echo(as_toml(dataset_config(config) if config in NAMES else settings(config)))


@app.command()
def info(
    path: Annotated[Path, typer.Argument(help="a model, a dataset, packings.h5, a run, or a folder of models")],
) -> None:
    """Say what a file or folder is, and where it comes from."""
    typer.echo(info_text(path))


@contextmanager
def _clock(what: str) -> Iterator[None]:
    """Show on a terminal what is being done, and for how long, each second."""
    from tqdm import tqdm

    over = threading.Event()
    with tqdm(desc=what, bar_format="{desc}: {elapsed}", disable=None) as bar:

        def tick() -> None:
            while not over.wait(1):
                bar.refresh()

        ticks = threading.Thread(target=tick, daemon=True)
        ticks.start()
        try:
            yield
        finally:
            over.set()
            ticks.join()


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError as error:
        raise WavesimError(f"{option} '{text}' are no numbers separated by commas, such as 0.73,0.4") from error


def _shown(bar: Any) -> Any:
    def report(iteration: int, _: int, error: float) -> None:
        bar.n = iteration
        bar.set_postfix_str(f"validation rel. L2 {error:.3f}" if error == error else "")

    return report


def main() -> None:
    """Run the command line; what a user can mend is one line on standard error and exit code 2."""
    # As an interruption does: what is half-written is removed on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        code = app(standalone_mode=False)
    except WavesimError as error:
        _refuse(str(error))
    except OSError as error:  # a path that cannot be, a file that may not be read or written
        about = f"{error.filename}: {error.strerror}; name another path, or mend this one"
        _refuse(about if error.filename and error.strerror else str(error))
    except Exception as error:
        # Typer's own complaints about a command line; their class is its private affair.
        if not hasattr(error, "format_message"):
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(error.format_message(), err=True)
            sys.exit(2)
        where = getattr(getattr(error, "ctx", None), "command_path", "wavesim")
        _refuse(f"{error.format_message().strip().rstrip('.')}; see `{where} --help`")
    if code == 130:
        typer.echo("wavesim: interrupted; call again to go on with what is whole", err=True)
    sys.exit(code)


def _refuse(line: str) -> NoReturn:
    typer.echo(f"wavesim: {line}", err=True)
    sys.exit(2)
