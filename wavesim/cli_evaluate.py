"""`wavesim evaluate`: from a run's folder or a model's file to results.json, table.md and figures in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from wavesim.cli_progress import clock
from wavesim.errors import WavesimError


def evaluate(
    run: Annotated[Path, typer.Argument(help="a run's folder, one of models, or one model's .safetensors file")],
    data: Annotated[
        Path | None,
        typer.Option(help="a dataset's folder, or one of The Well's acoustic files; default: the one with the run"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="folder for results.json, table.md, figures and ONNX files; default: RUN/evaluation"),
    ] = None,
    ladder: Annotated[
        bool,
        typer.Option(
            help="run the FE ladder of equal errors too (needs dolfinx); for one model --no-ladder takes half the time"
        ),
    ] = True,
    receiver: Annotated[
        list[str] | None,
        typer.Option(help="X,Y of a receiver, in the domain's lengths; again for more; default: five, spread"),
    ] = None,
) -> None:
    """Errors against the FE truth over the test split, beside cost, floors, and the best FE run of equal error."""
    from wavesim.evaluate import evaluate as evaluate_them
    from wavesim.further_tables import further
    from wavesim.metrics import PLACES
    from wavesim.provenance import whole_file, write_json
    from wavesim.report import as_text
    from wavesim.viz.evaluation_figures import draw_evaluation
    from wavesim.well_dataset import open_split

    models, data = _found(run, data)
    out = out or (run.parent if run.suffix == ".safetensors" else run) / "evaluation"
    places = _shares(receiver, open_split(data, "test").lengths) if receiver else PLACES
    with clock(f"evaluate {', '.join(models)}"):
        results = evaluate_them(models, data, out, ladder, receivers=places)
    text = f"{as_text(results)}\n\n{further(results)}\n"
    write_json(out / "results.json", results)
    with whole_file(out / "table.md") as part:
        part.write_text(text)
    figures = draw_evaluation(out, results)
    typer.echo(text)
    typer.echo(f"figures: {', '.join(map(str, figures))}")


def _found(run: Path, data: Path | None) -> tuple[dict[str, Path], Path]:
    """The models, name -> file, and the dataset. Raises WavesimError where there is none of the one or the other."""
    from wavesim.viz.runs import find_models, find_run

    models = find_models(run)
    if data is not None:
        return models, data
    if not run.is_dir():
        raise WavesimError(f"{run} is one model; name the dataset to evaluate it on with --data")
    return find_run(run)


def _shares(receivers: Sequence[str], lengths: tuple[float, float]) -> list[tuple[float, float]]:
    """Places (x, y) in shares of the sides. Raises WavesimError for what is no place, or none in the domain."""
    places = []
    for said in receivers:
        try:
            x, y = (float(part) for part in said.split(","))
        except ValueError as error:
            raise WavesimError(f"--receiver {said} is no place; give X,Y, such as 0.25,0.5") from error
        if not (0 <= x <= lengths[0] and 0 <= y <= lengths[1]):
            raise WavesimError(f"--receiver {said} is not in the domain, 0 to {lengths[0]:g} by 0 to {lengths[1]:g}")
        places.append((x / lengths[0], y / lengths[1]))
    return places
