"""`wavesim generate`: packings, their jamming diagram, and waves through them or through a preset's media."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wavesim.cli_options import Out, Seed, Settings, Workers, settings
from wavesim.errors import WavesimError
from wavesim.info import columns, second_transition

generate = typer.Typer(no_args_is_help=True, help="Make packings, their jamming diagram, or waves.")
Scheduler = Annotated[
    str | None, typer.Option(help="address of a scheduler of dask's, tcp://HOST:PORT: its workers do it instead")
]


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
    ranks: Annotated[int, typer.Option(min=1, help="processes that share each packing by MPI, at most one a core")] = 1,
) -> None:
    """Jam bidisperse packings with LAMMPS: OUT/packings.h5, with phi_J, coordination, rattlers and bulk modulus.

    With any of --dim, --particles, --size-ratio, --small-fraction and --n: so many packings of that one mixture,
    compressed stepwise from a dilute state and then expanded until p = 1e-5; below a size ratio of 0.3 compressed far
    above jamming and unloaded to p = 1e-3 or somewhat more. With none: the packings of the settings, quenched.
    """
    from wavesim.granular import Mixture, generate_mixture
    from wavesim.granular import generate_packings as generate_them

    if (dim, particles, size_ratio, small_fraction, n) == (None,) * 5:
        if ranks > 1:
            raise WavesimError(f"--ranks {ranks} is for large packings: give one's own options, as --particles 20000")
        rows = generate_them(settings(config).packings, out, seed, workers)
    elif config != "demo":
        raise WavesimError(f"--config {config} and a mixture's own options exclude each other: leave out one of them")
    else:
        mixture = Mixture(particles or 256, size_ratio or 1 / 1.4, small_fraction, dim or 2)
        rows = generate_mixture(mixture, n or 1, out, seed, workers, ranks=ranks)
    typer.echo(columns(rows, ("name", "size_ratio", "phi_j", "coordination", "rattler_fraction", "bulk_modulus")))


@generate.command("diagram")
def generate_diagram(
    out: Out = Path("runs/diagram"),
    dim: Annotated[int, typer.Option(min=2, max=3, help="2: disks, 3: spheres")] = 3,
    size_ratios: Annotated[str, typer.Option(help="small over large diameter, separated by commas")] = "0.73,0.4",
    fractions: Annotated[
        str, typer.Option(help="X_S, volume of the small ones over that of all, separated by commas")
    ] = "0,0.1,0.2,0.3,0.4,0.5,0.6,0.8,1",
    particles: Annotated[int, typer.Option(min=2, help="in one packing")] = 500,
    seeds: Annotated[int, typer.Option(min=1, help="packings of each mixture; a larger number adds to them")] = 3,
    seed: Seed = 0,
    workers: Workers = 2,
) -> None:
    """Sweep the jamming diagram: phi_J, bulk modulus, its parts and who carries, with the spread over seeds.

    OUT/diagram.jsonl has a line a packing, diagram.json means and deviations of each mixture, diagram.png their curves.
    phi_j2 and bulk_modulus_2 are of the second transition, where the small particles in the gaps jam too.
    """
    from wavesim.granular.diagram import generate_diagram as generate_it
    from wavesim.granular.diagram import points
    from wavesim.granular.diagram_figure import draw

    mixtures = points(_numbers("--size-ratios", size_ratios), _numbers("--fractions", fractions), particles, dim)
    rows = generate_it(mixtures, seeds, out, seed, workers)
    draw(rows, out / "diagram.png")
    shown = ("size_ratio", "small_fraction", "packings", "phi_j", "phi_j_deviation", "bulk_modulus", "coordination")
    typer.echo(columns(rows, (*shown, *second_transition(rows))))
    if failed := sum(row["failed"] for row in rows):
        typer.echo(f"{failed} packings came to no equilibrium; reasons in {out / 'failed.jsonl'}", err=True)


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


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError as error:
        raise WavesimError(f"{option} '{text}' are no numbers separated by commas, such as 0.73,0.4") from error
