"""`wavesim learn-pruning`: from the lifetimes of weights in past prunings to a regressor for method autosparse."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wavesim.cli_options import Seed
from wavesim.cli_progress import clock
from wavesim.info import columns


def learn_pruning(
    results: Annotated[
        list[Path],
        typer.Argument(
            help="models that `wavesim prune` made by sap, lottery-ticket or one-shot-dense, --rewind-to 1 or more"
        ),
    ],
    data: Annotated[Path, typer.Option(help="the dataset's folder that they were pruned on")],
    out: Annotated[Path, typer.Option(help="regressor to write, .safetensors")],
    seed: Seed = 0,
) -> None:
    """Learn which weights last from those of pruned models; says how well it ranks layers and models held out.

    Rank correlations of the regressor's scores, |theta| and |g theta| with lifetimes, inside of each tensor of weights.
    """
    from wavesim.pruning.learning import SCORERS, learn

    with clock("learn"):
        rows = learn(results, data, out, seed)
    typer.echo(columns(rows, ("held out", "weights", *SCORERS)))
