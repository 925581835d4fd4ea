"""Options that several commands share, and the settings that one of them names."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from wavesim.config import RunConfig
from wavesim.config import load as load_config
from wavesim.errors import WavesimError

Out = Annotated[Path, typer.Option(help="folder to write to; a second call goes on where the first stopped")]
Seed = Annotated[int, typer.Option(min=0, help="everything random is a function of it")]
Workers = Annotated[int, typer.Option(min=1, help="processes, of one thread each")]
Settings = Annotated[
    str, typer.Option("--config", help="a preset (demo, quick), or a TOML file with the tables packings, waves, "
                                       "forecaster, training, pruning")
]  # fmt: skip

AnySettings = Annotated[str, typer.Option("--config", help="demo, quick, a preset of waves, or a TOML file")]


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
