"""The command line: thin, one function a command, the same names as in Python."""

from __future__ import annotations

import re
import shlex
import signal
import sys
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Annotated, NoReturn, get_args

import typer

from wavesim.cli_calibrate import calibrate
from wavesim.cli_evaluate import evaluate
from wavesim.cli_generate import generate
from wavesim.cli_learn import learn_pruning
from wavesim.cli_options import AnySettings, Out, Seed, Settings, Workers, settings
from wavesim.cli_progress import clock, shown
from wavesim.config import PruningConfig, parse
from wavesim.errors import WavesimError
from wavesim.given import MODEL, model_file
from wavesim.info import columns, info_text
from wavesim.recipes import FORECASTERS, RecipeConfig, recipe

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Waves through granular matter, computed exactly once and forecast ever after.",
)
app.add_typer(generate, name="generate")

METHODS = ", ".join(get_args(PruningConfig.model_fields["method"].annotation)) + "; default: as in the settings"
Data = Annotated[Path, typer.Option(help="a dataset's folder, or one of The Well's acoustic files")]


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
    with clock(f"run {sample} again") if sample else nullcontext():
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
    with clock(f"import {source}"):
        counts = import_well(source, out, split)
    typer.echo(f"{out}: " + ", ".join(f"{n} {split}" for split, n in counts.items()) + " trajectories")


@app.command()
def train(
    data: Annotated[Path, typer.Option(help="a dataset's folder, or one of The Well's acoustic files")],
    out: Annotated[
        Path,
        typer.Option(
            help="folder of the run: model, card, curves, log; a second call goes on where the first stopped. Or a "
            ".safetensors file: the model alone"
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help=f"{', '.join(FORECASTERS)}, or a TOML file with the tables forecaster and training, such as a run's "
            "config.toml; default: as in --config"
        ),
    ] = None,
    seed: Seed = 0,
    config: Settings = "demo",
    device: Annotated[str, typer.Option(help="cpu; cuda, cuda:0, ... or mps where there is one")] = "cpu",
    devices: Annotated[int, typer.Option(min=1, help="how many devices share every batch")] = 1,
    workers: Annotated[int, typer.Option(min=0, help="processes that read ahead, for each device")] = 0,
) -> None:
    """Train a forecaster on growing unrolls; of those after the last growth the best over 32 frames of 8 validation
    trajectories is kept."""
    from tqdm import tqdm

    from wavesim.surrogate import train as train_it
    from wavesim.training_run import train_run

    chosen = settings(config)
    own = RecipeConfig(forecaster=chosen.forecaster, training=chosen.training)
    own = recipe(model, own) if model else own
    alone = out.suffix == ".safetensors"
    with tqdm(total=own.training.iterations, desc="train", disable=None) as bar:
        if alone:
            train_it(own.forecaster, own.training, data, out, seed, shown(bar), device, devices, workers)
        else:
            command = shlex.join(["wavesim", *sys.argv[1:]])
            worked = train_run(own, data, out, seed, shown(bar), device, devices, workers, command)
    typer.echo(info_text(out if alone else out / MODEL))
    if not alone:
        typer.echo(f"{out}: {'whole' if worked else 'was whole already, and stays as it is'}")


@app.command()
def prune(
    model: Annotated[Path, typer.Argument(help="a trained model, .safetensors, or the folder of its training")],
    data: Data,
    out: Annotated[Path, typer.Option(help="model file to write, .safetensors")],
    method: Annotated[str | None, typer.Option(help=METHODS)] = None,
    scope: Annotated[str | None, typer.Option(help="global, layer or neuron; default: as in the settings")] = None,
    density: Annotated[float | None, typer.Option(help="share that is left of what the method scores")] = None,
    restart: Annotated[str | None, typer.Option(help="rewind or fine-tune; default: as published")] = None,
    rewind_to: Annotated[int | None, typer.Option(help="optimiser steps after which weights are rewound to")] = None,
    rounds: Annotated[int | None, typer.Option(help="of pruning and retraining; default: the method's own")] = None,
    within: Annotated[
        float | None, typer.Option(help="times the error that the result may have; rounds end with two that have more")
    ] = None,
    half: Annotated[bool | None, typer.Option("--half", help="round the result to half precision")] = None,
    iterations: Annotated[int | None, typer.Option(help="optimiser steps of each training")] = None,
    like: Annotated[
        Path | None, typer.Option(help="for random and structured-random: a pruned model whose counts it takes")
    ] = None,
    regressor: Annotated[
        Path | None, typer.Option(help="for method autosparse: what `wavesim learn-pruning` made")
    ] = None,
    seed: Seed = 0,
    config: Settings = "demo",
) -> None:
    """Prune a model in rounds, by the PQ index or another published method, and write it physically smaller."""
    from tqdm import tqdm

    from wavesim.pruning import prune as prune_it
    from wavesim.pruning import trainings_of
    from wavesim.pruning.report import why_not
    from wavesim.surrogate.checkpoint import trained_by

    model = model_file(model)
    chosen = settings(config)
    options = {"method": method, "scope": scope, "density": density, "restart": restart, "rewind_to": rewind_to,
               "rounds": rounds, "within": within, "half": half, "iterations": iterations, "like": like,
               "regressor": regressor}  # fmt: skip
    update = {key: value for key, value in options.items() if value is not None}
    named = ", ".join(f"--{key}" for key in update).replace("_", "-") or "[pruning]"
    pruning = parse({**chosen.pruning.model_dump(), **update}, PruningConfig, named)
    was_there = out.exists()  # and is left as it is, or refused
    with tqdm(total=trainings_of(pruning) * pruning.iterations, desc="prune", disable=None) as bar:
        rows = prune_it(model, data, pruning, trained_by(model) or chosen.training, out, seed, shown(bar))
    typer.echo(columns(rows, ("round", "pq_index", "density", "parameters", "milliseconds", "validation_error")))
    if why := why_not(rows, pruning):
        typer.echo(why)
    if was_there:
        typer.echo(f"{out}: was whole already, and stays as it is")


app.command()(learn_pruning)
app.command()(calibrate)
app.command()(evaluate)


@app.command()
def export(
    source: Annotated[
        Path,
        typer.Argument(
            help="a model's .safetensors file, or the folder of its training; a dataset's folder; or a packings.h5"
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="a model: path without suffix, default: the model's; a trajectory: .xdmf file, default: "
            "DATASET-xdmf/SPLIT_NUMBER.xdmf, beside the dataset; packings: .data, .dump (all, or one), .vtu or .png"
        ),
    ] = None,
    grid: Annotated[int, typer.Option(min=8, help="cells along each side that the ONNX graphs are made for")] = 64,
    batch: Annotated[int, typer.Option(min=1, help="trajectories at once that the ONNX graphs are made for")] = 1,
    substeps: Annotated[
        int | None,
        typer.Option(min=1, help="of a learned step: what the stiffest medium takes that the graphs are for"),
    ] = None,
    split: Annotated[str, typer.Option(help="train, valid or test: where the trajectory is")] = "test",
    trajectory: Annotated[int, typer.Option(min=0, help="number of the trajectory in its split")] = 0,
    packing: Annotated[
        int | None, typer.Option(min=0, help="number of the packing in its file; default: 0, and of a .dump all")
    ] = None,
) -> None:
    """Write a model as ONNX (a graph for the medium, one for a frame), a trajectory as XDMF, a packing for LAMMPS."""
    if (source / "packings.h5").is_file() and not (source / "data").is_dir():
        source = source / "packings.h5"
    if source.suffix == ".h5" and not source.is_dir():
        from wavesim.granular.exchange import export_packings

        typer.echo(export_packings(source, out or source.with_name(f"{source.stem}_{packing or 0}.data"), packing))
        return
    if not (source / "data").is_dir():
        source = model_file(source)
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
    from wavesim.surrogate.checkpoint import read_header

    data = read_header(source)["about"].get("data")
    for path in export_onnx(load(source), out or source.with_suffix(""), (grid, grid), batch, data, substeps):
        typer.echo(f"{path}  {path.stat().st_size / 1e3:.1f} kB")


@app.command()
def view(
    run: Annotated[
        Path,
        typer.Argument(
            help="a run's folder, a folder of models such as data/models/demo, or one model's .safetensors file"
        ),
    ],
    record: Annotated[Path | None, typer.Option(help="write a film (.mp4 or .gif) instead of opening a window")] = None,
    seconds: Annotated[float | None, typer.Option(help="stop after so many seconds; default: 10 for a film")] = None,
) -> None:
    """Watch truth, forecast and error, live: a click drops a pulse, space pauses, keys switch forecaster or packing."""
    import torch

    from wavesim.viz.runs import open_run
    from wavesim.viz.window import run_window

    torch.set_num_threads(1)  # the solver's process and the window need the other cores
    with open_run(run) as session:
        film = run_window(session, record=record, seconds=seconds)
        if session.why_recorded:
            typer.echo(f"the truth was recorded, not live: {session.why_recorded}", err=True)
        for line in session.log:
            typer.echo(line, err=True)
        if film:
            typer.echo(film)


@app.command()
def bench(
    model: Annotated[Path, typer.Argument(help="a model's .safetensors file, or the folder of its training")],
    data: Annotated[
        Path | None, typer.Option(help="a dataset: its first test trajectory is forecast, on its grid; int8 needs one")
    ] = None,
    grid: Annotated[int, typer.Option(min=16, help="without data: cells along each side, of a uniform medium")] = 128,
    frames: Annotated[int, typer.Option(min=1, help="frames of the forecast whose errors are told")] = 32,
) -> None:
    """Time a model in every runtime and precision of this machine, with the error that each costs."""
    import torch

    from wavesim.bench import bench as bench_it

    torch.set_num_threads(1)
    rows = bench_it(model, data, grid, frames)
    typer.echo("runtime      precision   ms a frame   median   apart from torch, first frame   last frame")
    for row in rows:
        typer.echo(
            f"{row.runtime:12s} {row.precision:9s} {row.milliseconds:12.3f} {row.milliseconds_median:8.3f} "
            f"{row.first_frame:31.1e} {row.last_frame:12.1e}"
        )


@app.command("settings")
def print_settings(config: AnySettings = "demo") -> None:
    """Print all settings, or those of a preset of waves, with what they mean, as a TOML file to edit and give back."""
    from wavesim.config import as_toml
    from wavesim.preset_config import NAMES, dataset_config

    if config == "packing-smooth":
        typer.echo(f'preset = "{config}"')
    typer.echo(as_toml(dataset_config(config) if config in NAMES else settings(config)))


@app.command()
def info(
    path: Annotated[
        Path, typer.Argument(help="a model, a dataset, packings.h5, a diagram's folder, a run, or a folder of models")
    ],
) -> None:
    """Say what a file or folder is, and where it comes from."""
    typer.echo(info_text(path))


def main() -> None:
    """Run the command line; what a user can mend is one line on standard error and exit code 2."""
    # As an interruption does: what is half-written is removed on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    for before, word in pairwise(sys.argv):  # an unset variable of the shell: a path of "" would be this folder
        if word == "" or re.fullmatch(r"--[a-z-]+=", word):
            _refuse(f"{word or before} is given an empty value; name what is meant, or leave it out")
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
