"""`wavesim calibrate`: the band of a model's error, which needs no truth, into a file beside the model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wavesim.given import model_file


def calibrate(
    model: Annotated[Path, typer.Argument(help="a model's .safetensors file, or the folder of its training")],
    data: Annotated[
        Path,
        typer.Option(
            help="a dataset's folder with media that the model has not seen: those of train and valid calibrate; a "
            "second call goes on where the first stopped"
        ),
    ],
    level: Annotated[float, typer.Option(help="probability with which an unseen medium's error is within")] = 0.9,
    out: Annotated[Path | None, typer.Option(help="file to write; default: NAME.band.json beside the model")] = None,
) -> None:
    """Calibrate a bound on a forecast's error that needs no truth, by split conformal prediction over media."""
    from wavesim.calibrate import calibrate as calibrate_it
    from wavesim.surrogate.band import band_file

    model = model_file(model)
    band = calibrate_it(model, data, level, out)
    typer.echo(f"{out or band_file(model)}: {band}")
    if band.trained_on is None:
        typer.echo(f"{model} does not say what it was trained on: on media that it has seen, this band is too narrow")
