"""Train a small forecaster for each preset, prune it, and ship the result with a card: models/PRESET-pruned.

The study (pruning.py) finds effective media of few weights the smallest and the fastest at equal error. So

    classical    as shipped (ship_presets.py); its validation error, times 1.1, is what the result may have
    small        an effective medium with a narrow encoder, trained by `wavesim train`
    pruned       rounds of the lottery ticket from it by `wavesim prune`, each a training as long, in half precision;
                 the last one within that error
The waves on which the window opens are those beside the classical one.

Errors over the test split and over fresh data of another seed by `wavesim evaluate`, beside those of the classical one;
bytes as they are stored, without a file's settings. A second call goes on where the first stopped.

    OMP_NUM_THREADS=1 python benchmarks/ship_pruned.py [--presets packing] [--folder runs/apriori] [--quick]
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import apriori
from apriori_arms import RATE, Arm, narrow
from ship_presets import FOLDER, FRESH, FRESH_SEED, FULL, MODELS, SHORT

from wavesim.config import TrainingConfig, as_toml
from wavesim.provenance import file_hash
from wavesim.pruning.store import read_rows, result_in
from wavesim.recipes import RecipeConfig
from wavesim.surrogate import load
from wavesim.surrogate.checkpoint import read_header, stored_bytes
from wavesim.tables import markdown

WITHIN = 1.1  # times the classical forecaster's validation error
SMALL = {"packing": {**narrow("one-way", 16), "substeps": 5}, "random": {**narrow("one-way", 32), "substeps": 5}}
CHANGES: dict[str, dict[str, Any]] = {
    "packing": {"optimizer": "muon", "learning_rate": 1e-2},
    "random": {"learning_rate": RATE},
}
EARLY = 10  # at the beginning the last layer is zero, and with it every gradient


def ship(preset: str, scale: apriori.Scale, training: TrainingConfig, folder: Path, models: Path) -> None:
    """Fill MODELS/PRESET-pruned."""
    data, runs, target = apriori.dataset(preset, scale, folder), folder / "pruned" / preset, models / f"{preset}-pruned"
    for path in (runs / "pair", target):
        path.mkdir(parents=True, exist_ok=True)
    arm = Arm("shipped", "small", SMALL[preset], preset)
    changes = {**arm.stable, **CHANGES[preset]}
    recipe = RecipeConfig(forecaster=arm.forecaster(), training=training.model_copy(update=changes))
    (runs / "small.toml").write_text(as_toml(recipe))
    apriori.command("train", "--data", data, "--model", runs / "small.toml", "--out", runs / "small")
    classical = models / preset / "classical.safetensors"
    small, out = runs / "small" / "model.safetensors", runs / "pair" / "pruned.safetensors"
    quick = scale.grid == apriori.QUICK.grid
    allowed = WITHIN if quick else WITHIN * _error(classical) / _error(small)  # after a few steps, neither is any good
    if allowed < 1:
        raise SystemExit(
            f"preset {preset}: the small forecaster errs by {_error(small):.4f}, more than {WITHIN} times the "
            f"{_error(classical):.4f} of {classical}; give it more weights"
        )
    words = ["--method", "lottery-ticket", "--scope", "layer", "--density", 0.1, "--rounds", 10, "--half"]
    words += ["--rewind-to", 1 if quick else EARLY, "--within", f"{allowed:.6f}", "--iterations", training.iterations]
    apriori.command("prune", small, "--data", data, "--out", out, *words)
    shutil.copy(classical, runs / "pair")
    results = {}
    trajectories = scale.trajectories[preset] if quick else FRESH
    fresh = apriori.generated(preset, scale, folder, trajectories, FRESH_SEED)
    for what, place in {"test": data, "fresh": fresh}.items():
        apriori.command("evaluate", runs / "pair", "--data", place, "--out", runs / what)
        results[what] = json.loads((runs / what / "results.json").read_text())
    for path in (out, out.with_suffix(".rounds.jsonl"), runs / "small.toml"):
        shutil.copy(path, target)
    shutil.copytree(models / preset / "waves", target / "waves", dirs_exist_ok=True)
    command = " ".join(map(str, ["wavesim prune small --data DATA --out pruned.safetensors", *words]))
    (target / "README.md").write_text(_card(preset, command, classical, target, results))


def _error(path: Path) -> float:
    return float(read_header(path)["about"]["validation_error"])


def _card(preset: str, command: str, classical: Path, target: Path, results: dict[str, Any]) -> str:
    path, rows = target / "pruned.safetensors", read_rows(target / "pruned.safetensors")
    kept = rows[result_in(rows)]
    sizes = {name: stored_bytes(load(file)) for name, file in (("classical", classical), ("pruned", path))}
    found = {row["name"]: row for row in results["fresh"]["rows"]}
    fewer = [sizes["classical"] / sizes["pruned"]]
    fewer.append(found["classical"]["milliseconds"] / found["pruned"]["milliseconds"])
    times = found["pruned"]["one_crossing"] / found["classical"]["one_crossing"]
    lines = [
        f"| {row['round']} | {row['density']:.3f} | {row['nonzero']:,} | {row['stored_bytes'] / 1e3:.2f} "
        f"| {row['pq_index']:.3f} | {row['validation_error']:.4f} |"
        for row in rows
    ]
    return f"""# A pruned forecaster for preset {preset}

Made by `python benchmarks/ship_pruned.py --presets {preset}`: an effective medium of {rows[0]["parameters"]:,}
weights, trained by `wavesim train --model small.toml`, then `{command}`. MIT licence.

`pruned.safetensors`, SHA-256 {file_hash(path)[:16]}: {kept["nonzero"]:,} weights, {sizes["pruned"] / 1e3:.2f} kB
as they are stored, where the [classical one](../{preset}/README.md) has {sizes["classical"] / 1e3:.1f} kB.
It stores {fewer[0]:.0f} times fewer bytes and takes {fewer[1]:.0f} times fewer milliseconds a frame; on fresh data
it has {times:.2f} times the classical one's error after one crossing. The aims are 100, 10 and 1.1.
`wavesim view data/models/{preset}-pruned` shows it.

Round by round; validation error: relative L2 of pressure in the mean over frames.

| round | density | weights | kB | PQ index | validation error |
|---:|---:|---:|---:|---:|---:|
{chr(10).join(lines)}

Errors over {results["test"]["trajectories"]} test trajectories, in media that no model has seen:

{markdown(results["test"])}
Errors over {results["fresh"]["trajectories"]} trajectories of data made afterwards with seed {FRESH_SEED}:

{markdown(results["fresh"])}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="*", default=list(SMALL), choices=SMALL)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="data and runs")
    parser.add_argument("--models", type=Path, default=MODELS, help="where the classical ones are, too")
    parser.add_argument("--quick", action="store_true", help="small and short: whether it runs")
    given = parser.parse_args()
    scale, training = (apriori.QUICK, SHORT) if given.quick else (apriori.Scale(), FULL)
    for preset in given.presets:
        ship(preset, scale, training, given.folder, given.models)


if __name__ == "__main__":
    main()
