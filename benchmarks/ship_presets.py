"""Train and ship a classical, a compressed and an effective forecaster for each preset, with cards: models/PRESET.

For each preset: data by `wavesim generate`, trainings of the arms at the full recipe by `wavesim train`, errors over
the test split and over fresh data, made of another seed after the training, by `wavesim evaluate`. A second call goes
on where the first stopped. Of arms that are shipped and not asked for, the files and what the card says of their
training stay; their errors are taken anew. The card (README.md) and promise.json are of the fresh data; promises.py
makes fresh data once more and holds the models to them. Beside the models lies a trajectory of yet another seed, on
which `wavesim view data/models/PRESET` opens them (--waves: make it alone). --published: three published networks with
about as many weights, trained for packings alike, as models/published, which race beside them (pareto.py).

    OMP_NUM_THREADS=1 python benchmarks/ship_presets.py [--presets packing] [--arms effective] [--folder runs/apriori]
        [--waves] [--published] [--quick]
"""

from __future__ import annotations

import argparse
import json
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import apriori
import numpy as np
from apriori_arms import PRESETS, RATE, THINNED, Arm, gated

from wavesim.config import TrainingConfig, as_toml
from wavesim.metrics import one_crossing
from wavesim.provenance import file_hash, write_json
from wavesim.recipes import RecipeConfig
from wavesim.surrogate.band import band_file
from wavesim.tables import markdown

FOLDER = Path("runs/apriori")
MODELS = Path(__file__).parents[1] / "data" / "models"
ARMS = {
    "classical": gated("classical"),
    "compressed": gated("one-way"),
    # Its encoder runs once a medium: its width and depth cost a frame nothing; sub-steps do, and training finds a step
    # that is stable with fewer than the coarse step's 7 (docs/decisions.md).
    "effective": {
        "network": "effective",
        "convolution": "one-way",
        "encoder_width": 64,
        "encoder_ranks": (32, 64),
        "ranks": (32,) * 6,
        "substeps": 5,
    },
}
FULL = TrainingConfig(iterations=6000, unrolls=(1, 2, 4, 8, 16), shares=(0.1, 0.1, 0.2, 0.35, 0.25))
# At the peak rate of factors its error on random media rose to 1.2 where unrolls grew from 2 to 4 frames, and stayed.
SLOWER = {("random", "effective"): {"learning_rate": RATE}}
# Better for as many steps than Adam; at twice the rate it failed where unrolls grew to 4 frames (docs/decisions.md).
MUON = {
    (preset, "effective"): {"optimizer": "muon", "learning_rate": 1e-2} for preset in ("packing", "packing-contrasts")
}
SHORT = TrainingConfig(iterations=6, unrolls=(1, 2), shares=(0.5, 0.5))
FLOORS = {
    "truth": "the truth's own error",
    "rounding": "single precision",
    "grid": "the share of the field that its means over the cells, which are what is forecast, leave out",
}
PUBLISHED = ("classic-unet", "convnext-unet", "fno")
FRESH_SEED, FRESH = 1000, 128  # trajectories
# Of these the window, which opens models on the waves beside them, has one in another medium, over one crossing.
SHOWN_SEED, SHOWN, SHOWN_FRAMES = 3000, 6, 33


def ship(
    preset: str, arms: Sequence[str], scale: apriori.Scale, training: TrainingConfig, folder: Path, models: Path
) -> None:
    """Fill MODELS/PRESET, whose card is of these arms."""
    data, runs = apriori.dataset(preset, scale, folder), folder / "shipped" / preset
    runs.mkdir(parents=True, exist_ok=True)
    for name in arms:
        arm = Arm("shipped", name, ARMS[name], preset)
        changes = {**arm.stable, **SLOWER.get((preset, name), {}), **MUON.get((preset, name), {})}
        recipe = RecipeConfig(forecaster=arm.forecaster(), training=training.model_copy(update=changes))
        settings = runs / f"{name}.toml"
        settings.write_text(as_toml(recipe))
        apriori.command("train", "--data", data, "--model", settings, "--out", runs / name)
    target = models / preset
    target.mkdir(parents=True, exist_ok=True)
    every = [name for name in ARMS if name in arms or (target / f"{name}.safetensors").exists()]
    parts = {name: _part(target / "README.md", name) for name in every if name not in arms}
    for name in arms:
        parts[name] = _shipped(name, runs / name, target)
    trajectories = FRESH if scale.grid > apriori.QUICK.grid else scale.trajectories[apriori.kind_of(preset)]
    fresh = apriori.generated(preset, scale, folder, trajectories, FRESH_SEED)
    results = {}
    for what, place in {"test": data, "fresh": fresh}.items():
        apriori.command("evaluate", target, "--data", place, "--out", runs / what)
        results[what] = json.loads((runs / what / "results.json").read_text())
    rows = {row["name"]: promised(row, results["fresh"]) for row in results["fresh"]["rows"] if row["name"] in every}
    write_json(target / "promise.json", {"preset": preset, "seed": FRESH_SEED, "rows": rows})
    parts = {name: parts[name] for name in every}
    (target / "README.md").write_text(_card(preset, parts, training, target, results))


def show(preset: str, scale: apriori.Scale, folder: Path, models: Path) -> None:
    """Fill MODELS/PRESET/waves."""
    few = replace(scale, frames=min(SHOWN_FRAMES, scale.frames))
    data, target = apriori.generated(preset, few, folder, SHOWN, SHOWN_SEED, shard=1), models / preset / "waves"
    shutil.rmtree(target, ignore_errors=True)
    (target / "data" / "test").mkdir(parents=True)
    for path in sorted((data / "data" / "test").glob("*.hdf5"))[:1]:
        shutil.copy(path, target / "data" / "test")


def publish(scale: apriori.Scale, training: TrainingConfig, folder: Path, target: Path) -> None:
    """Train published networks for packings, by the recipe of the classical forecaster, and fill a folder of models."""
    data, runs, described = apriori.dataset("packing", scale, folder), folder / "shipped" / "published", []
    for path in (runs, target):
        path.mkdir(parents=True, exist_ok=True)
    for name in PUBLISHED:
        arm = Arm("published", name, {"network": name, **THINNED[name]}, "packing")
        recipe = RecipeConfig(forecaster=arm.forecaster(), training=training.model_copy(update=arm.stable))
        (runs / f"{name}.toml").write_text(as_toml(recipe))
        apriori.command("train", "--data", data, "--model", runs / f"{name}.toml", "--out", runs / name)
        described.append(_shipped(name, runs / name, target))
    (target / "README.md").write_text(
        "# Published networks for preset packing\n\nMade by `python benchmarks/ship_presets.py --published`. Their "
        "errors are in [docs/race.md](../../../docs/race.md). MIT licence.\n\n" + "\n\n".join(described) + "\n"
    )


def promised(row: dict[str, Any], results: dict[str, Any]) -> dict[str, list[float]]:
    """Relative L2 of each trajectory: its mean over the first frames, and after one crossing."""
    crossing = one_crossing(results["frame_interval"], results["frames"])
    return {
        "first_frames": [float(np.mean(errors[: results["first_frames"]])) for errors in row["errors"]],
        "one_crossing": [errors[crossing - 1] for errors in row["errors"]],
    }


def _card(
    preset: str, parts: Mapping[str, str], training: TrainingConfig, target: Path, results: dict[str, Any]
) -> str:
    """parts: of the card, of each model."""
    described = "\n\n".join(parts.values())
    recipes = {name: tomllib.loads((target / f"{name}.toml").read_text())["training"] for name in parts}
    noise = ", ".join(f"{recipe['noise']:g} {name}" for name, recipe in recipes.items())
    precisions = ", ".join(dict.fromkeys(recipe["precision"] for recipe in recipes.values()))
    return f"""# Forecasters for preset {preset}

Made by `python benchmarks/ship_presets.py --presets {preset} --arms {" ".join(parts)}`:
{training.iterations} optimiser steps on unrolls of {", ".join(map(str, training.unrolls))} frames, in {precisions},
from states with noise ({noise}). MIT licence.

Errors over {results["test"]["trajectories"]} test trajectories, in media that no model has seen.
{_floors(results["test"])}

{markdown(results["test"])}
Errors over {results["fresh"]["trajectories"]} trajectories of data made afterwards with seed {FRESH_SEED}:

{markdown(results["fresh"])}
{described}
"""


def _shipped(name: str, run: Path, target: Path) -> str:
    """Copy the model of a whole training, its settings and its curves; returns its part of the card."""
    shutil.copy(run / "model.safetensors", target / f"{name}.safetensors")
    shutil.copy(run / "curves.png", target / f"{name}.curves.png")
    shutil.copy(run.with_suffix(".toml"), target)
    band_file(target / f"{name}.safetensors").unlink(missing_ok=True)  # of the model before: calibrate it again
    table = (run / "README.md").read_text().split("\n| | |\n")[1].split("\n\n")[0]
    table = table.replace(str(run.with_suffix(".toml")), f"data/models/{target.name}/{name}.toml")
    table = table.replace(str(run.parents[2]), str(FOLDER))  # a card is of no machine
    return (
        f"## {name}\n\n`{name}.safetensors`, SHA-256 {file_hash(target / f'{name}.safetensors')[:16]}\n\n| | |\n"
        f"{table}\n\n![Training loss and validation error]({name}.curves.png)"
    )


def _part(card: Path, name: str) -> str:
    """What a card says of one model."""
    return f"## {name}" + card.read_text().split(f"\n## {name}")[1].split("\n## ")[0].rstrip()


def _floors(results: dict[str, Any]) -> str:
    """What no forecast is held to, after one crossing."""
    at = one_crossing(results["frame_interval"], results["frames"]) - 1
    found = {name: curve[at] for name, curve in results["floors"].items()}
    words = [f"{said} {found[name]:.2g}" for name, said in FLOORS.items() if name in found]
    return f"After one crossing, relative L2: {', '.join(words)}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="*", default=list(PRESETS), choices=(*PRESETS, *apriori.VARIANTS))
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=ARMS, help="those that the card is to have")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="data and runs")
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--waves", action="store_true", help="only the waves that the window opens models on")
    parser.add_argument("--published", action="store_true", help="only the published networks")
    parser.add_argument("--quick", action="store_true", help="small and short: whether it runs")
    given = parser.parse_args()
    scale, training = (apriori.QUICK, SHORT) if given.quick else (apriori.Scale(), FULL)
    if given.published:
        publish(scale, training, given.folder, given.models / "published")
    for preset in () if given.published else given.presets:
        if not given.waves:
            ship(preset, given.arms, scale, training, given.folder, given.models)
        show(preset, scale, given.folder, given.models)


if __name__ == "__main__":
    main()
