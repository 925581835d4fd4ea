"""What a forecaster is and how it is trained, as one TOML file of two tables, and the forecasters that have a name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wavesim.config import ForecasterConfig, Settings, TrainingConfig, parse, read
from wavesim.errors import WavesimError
from wavesim.given import refuse_pickle

FORECASTERS: Mapping[str, Mapping[str, Any]] = {
    "one-way": {"network": "gated", "convolution": "one-way"},
    "classical": {"network": "gated", "convolution": "classical"},
    "unet-one-way": {"network": "unet", "convolution": "one-way"},
    "unet-classical": {"network": "unet", "convolution": "classical"},
    "effective": {"network": "effective"},
    "space-time-one-way": {"network": "space-time", "convolution": "one-way", "bundle": 4},
    "space-time-classical": {"network": "space-time", "convolution": "classical", "bundle": 4},
    **{name: {"network": name} for name in ("classic-unet", "convnext-unet", "fno", "tfno")},
}
"""What a name changes of the other settings of a forecaster."""
OF_A_RUN = ("seed", "data", "data_hash")  # what the file in a run's folder says besides


class RecipeConfig(Settings):
    """A forecaster and its training."""

    forecaster: ForecasterConfig = ForecasterConfig()
    training: TrainingConfig = TrainingConfig()


def recipe(model: str, others: RecipeConfig) -> RecipeConfig:
    """The recipe of a name, which keeps `others` for the rest, or of a TOML file, such as a run's config.toml.

    Raises:
        WavesimError: neither of them; unknown keys; values out of range.
    """
    if model in FORECASTERS:
        forecaster = {**others.forecaster.model_dump(), **FORECASTERS[model]}
        return RecipeConfig(
            forecaster=parse(forecaster, ForecasterConfig, f"--model {model}"), training=others.training
        )
    refuse_pickle(Path(model), "a .toml file, such as a run's config.toml")
    if not model.endswith(".toml"):
        raise WavesimError(f"unknown model '{model}'; models: {', '.join(FORECASTERS)}; or give a .toml file")
    content = read(Path(model))
    return parse({key: value for key, value in content.items() if key not in OF_A_RUN}, RecipeConfig, model)


def trained_on(run: Path) -> list[Path]:
    """The dataset that the config.toml of a training's folder names; none where there is no such file."""
    file = run / "config.toml"
    return [Path(str(read(file)["data"]))] if file.is_file() and "data" in read(file) else []
