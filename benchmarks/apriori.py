"""Compressed a priori, and measured: classical against one-way forecasters, after the abstract of arXiv 2304.04964.

An arm (apriori_arms.py) is a forecaster and what it trains on; each is trained with several seeds, by the same steps on
the same windows.
    main         the gated network: classical filters of 3, 5 and 7 taps, one-way ones (cp) of three ranks at each
    thin         classical filters again, with fewer channels, in the encoder too: what equal parameters, products or
                 milliseconds buy
    families     other one-way filters of the same rank
    afterwards   the trained classical one, its kernels decomposed (CP by alternating least squares), and tuned on
    time         the thin classical one, the one-way one and two effective media for as many seconds as the classical
                 one takes
    networks     U-Nets, kernels of space and time (3-way) and encoders of an effective medium of both families, these
                 also with a twentieth of the parameters; published ones thinned
    data         classical and one-way on 8 to 128 trajectories, of packings and of random media: who overfits
All run on packings, four arms on the other presets too. Trajectories are split by medium. Settings are the same for all
but for the rate, which is lower for classical filters (but in encoders) and published networks, and the noise on first
states, which an effective medium does not take; they were chosen before, on validation data of the demo, of packings
and of random media. The test split is seen once, when a training is finished. A finished training is a line of
results/apriori/runs.jsonl and is not run again.

    OMP_NUM_THREADS=1 python benchmarks/apriori.py [--quick] [--groups main thin] [--seeds 3] [--minutes 60]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import apriori_tables
import numpy as np
import torch
from apriori_arms import AS_LONG, CLASSICAL, ONE_WAY, RATE_OF_FACTORS, Arm, arms
from apriori_costs import SHARES, UNROLLS, costs

from wavesim.config import Settings, TrainingConfig
from wavesim.dataset import WaveDataset
from wavesim.lock import sole_user
from wavesim.metrics import one_crossing, relative_l2, vrmse
from wavesim.provenance import log_lines, read_lines, revision, settings_hash
from wavesim.surrogate import Forecaster, load, rollout, save, train
from wavesim.surrogate.data import spread
from wavesim.surrogate.loops import in_loops

RESULTS = Path(__file__).parent / "results" / "apriori"
SINCE = {"optimizer": "adam"}  # settings that came after the first lines, and what those had
FIRST_FRAMES = 10
PARTICLES = 64
TOGETHER = {"packing": 4}  # trajectories through one medium; elsewhere one


@dataclass(frozen=True)
class Variant:
    """A dataset of a preset, with settings of its own; particles: of its packings."""

    kind: str
    settings: dict[str, Any]
    particles: int = PARTICLES


VARIANTS = {
    "packing-contrasts": Variant("packing", {"bulk_moduli": [4.0, 25.0], "densities": [1.0, 6.0]}),  # ship_presets.py
    # For half as many cells along a side (pruning.py): all else is as many cells long as in the presets, but for
    # grains and waves of packings, which are a fifth shorter: 16 grains are too few for both species.
    "packing-32": Variant("packing", {"frame_interval": 1 / 16, "frequency": 3.5, "element_size": 0.05}, 24),
    "random-32": Variant(
        "random", {"frame_interval": 0.04, "pulse_width": 0.1, "correlation_length": 0.2, "elements": [16, 16]}
    ),
}


@dataclass(frozen=True)
class Scale:
    """What a study takes: trajectories of each preset, iterations of a training, cells along a side."""

    trajectories: dict[str, int] = field(default_factory=lambda: {"packing": 256, "random": 688, "cavity": 256})
    iterations: int = 1200
    grid: int = 64
    frames: int = 65
    unrolls: tuple[int, ...] = UNROLLS


QUICK = Scale({"packing": 12, "random": 24, "cavity": 24}, 6, 24, 12, (1, 2))


def dataset(preset: str, scale: Scale, folder: Path, size: int | None = None) -> Path:
    """The preset's trajectories, made where they are missing; or a folder whose `size` first ones train."""
    whole = generated(preset, scale, folder, scale.trajectories[kind_of(preset)])
    if size is None:
        return whole
    part = whole.with_name(f"{whole.name}-first-{size}")
    if not part.exists():
        (part / "data" / "train").mkdir(parents=True)
        (part / "stats.yaml").symlink_to((whole / "stats.yaml").resolve())
        for split in ("valid", "test"):
            (part / "data" / split).symlink_to((whole / "data" / split).resolve())
        files, train_split = sorted((whole / "data" / "train").glob("*.h*5")), WaveDataset(whole, "train")
        each = len(train_split) // len(files)
        for file in files[: -(-size // each)]:
            (part / "data" / "train" / file.name).symlink_to(file.resolve())
    return part


def kind_of(preset: str) -> str:
    """Of a variant, what it is one of."""
    return VARIANTS[preset].kind if preset in VARIANTS else preset


def generated(
    preset: str, scale: Scale, folder: Path, trajectories: int, seed: int = 0, shard: int | None = None
) -> Path:
    """A dataset of so many trajectories, and the packings that it takes; half of another seed's is its test split.

    shard: trajectories a file, by default as many as `wavesim generate waves` takes; a packing has a file of its own.
    """
    whole = folder / "data" / (f"{preset}-{trajectories}-{scale.grid}" + (f"-seed-{seed}" if seed else ""))
    variant = VARIANTS.get(preset, Variant(preset, {}))
    kind = variant.kind
    settings = [f"grid = {scale.grid if kind == 'packing' else [scale.grid, scale.grid]}", f"frames = {scale.frames}"]
    settings += [f"{name} = {value}" for name, value in variant.settings.items()]
    settings += ["test_share = 0.49"] if seed else []
    settings += [f"shard = {shard}"] if shard and kind != "packing" else []
    own: tuple[object, ...] = ("--seed", seed)
    if kind == "packing":
        of_another = "" if variant.particles == PARTICLES else f"-of-{variant.particles}"
        packings = folder / (f"packings{of_another}" + (f"-seed-{seed}" if seed else ""))
        if not (packings / "packings.h5").exists():
            mixture = ("--particles", variant.particles, "--size-ratio", 1 / 1.4, "--small-fraction", 0.5)
            count = max(6, trajectories // TOGETHER[kind])
            command("generate", "packings", *mixture, "--n", count, *own, "--out", packings)
        own = (*own, "--packings", packings)
    if not (whole / "stats.yaml").exists():
        whole.parent.mkdir(parents=True, exist_ok=True)
        toml = whole.with_suffix(".toml")
        toml.write_text("\n".join([f'preset = "{kind}"', *settings]) + "\n")
        command("generate", "waves", toml, "--n", trajectories, *own, "--out", whole)
    return whole


def command(*words: object) -> None:
    """`wavesim` with these words."""
    subprocess.run([sys.executable, "-m", "wavesim", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def training_of(arm: Arm, scale: Scale, iterations: int) -> TrainingConfig:
    shares = SHARES[-len(scale.unrolls) :]
    return TrainingConfig(iterations=iterations, unrolls=scale.unrolls, shares=shares, **arm.stable)


def finished(arm: Arm, seed: int, scale: Scale, folder: Path, iterations: int) -> dict[str, Any]:
    """Train one arm with one seed, and measure it: on what trains and what validates, and once on the test split."""
    data, training = dataset(arm.preset, scale, folder, arm.size), training_of(arm, scale, iterations)
    begin = time.perf_counter()
    path = trained(arm, seed, scale, folder, iterations)
    seconds, model = time.perf_counter() - begin, load(path)
    row: dict[str, Any] = {}
    if arm.afterwards:
        from apriori_afterwards import decomposed, tuned

        model = decomposed(model, arm.afterwards)
        row["before_tuning"] = errors(model, data, "valid")["one_crossing"]
        training = training.model_copy(update={"learning_rate": RATE_OF_FACTORS})  # it has factors now
        model = tuned(model, data, training, seed, folder / "tuning")
        path = save(model, path.with_suffix(".tuned.safetensors"))
        seconds = time.perf_counter() - begin
    parameters = model.weights()
    row |= {"parameters": parameters, "macs": model.macs((scale.grid, scale.grid))["frame"], "iterations": iterations}
    for split in ("train", "valid", "test"):
        row[split] = errors(model, data, split)
    return {**row, "bytes": path.stat().st_size, "seconds": round(seconds, 1), "revision": revision()}


def trained(arm: Arm, seed: int, scale: Scale, folder: Path, iterations: int) -> Path:
    """The file of an arm's forecaster, trained anew, or from where a killed training has come to."""
    path = model_of(arm, seed, scale, folder, iterations)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = dataset(arm.preset, scale, folder, arm.size)
    return train(arm.forecaster(), training_of(arm, scale, iterations), data, path, seed)


def model_of(arm: Arm, seed: int, scale: Scale, folder: Path, iterations: int) -> Path:
    """Where an arm's forecaster lies."""
    return folder / "models" / f"{key_of(arm, seed, scale, iterations)}.safetensors"


def errors(model: Forecaster, data: Path, split: str) -> dict[str, Any]:
    """Means over (at most 32) trajectories: relative L2 by frame, and VRMSE over the first crossing."""
    some, runs = WaveDataset(data, split), in_loops(model)
    curves, others = [], []
    for index in spread(len(some), 32):
        truth = some.window(index, 0, some.frames)
        forecast = rollout(runs, truth[0], some.medium(index), some.frames - 1)
        curves.append(relative_l2(forecast[:, 0], truth[1:, 0]))
        others.append(vrmse(forecast[:, 0], truth[1:, 0]))
    curve, crossing = np.mean(curves, axis=0), one_crossing(some.frame_interval, some.frames - 1)
    return {
        "first_frames": float(curve[:FIRST_FRAMES].mean()),
        "one_crossing": float(curve[crossing - 1]),
        "last_frame": float(curve[-1]),
        "vrmse": float(np.mean(others, axis=0)[:crossing].mean()),
        "curve": [round(float(value), 5) for value in curve],
    }


def key_of(arm: Arm, seed: int, scale: Scale, iterations: int) -> str:
    settings = {"forecaster": arm.forecaster(), "training": training_of(arm, scale, iterations)}
    about = {**asdict(arm), "scale": asdict(scale), **{name: keyed(one) for name, one in settings.items()}}
    return settings_hash([about, seed])


def keyed(settings: Settings) -> dict[str, Any]:
    """As a key has them: what settings have gained since the first trainings counts where it is not the default."""
    found = settings.model_dump()
    return {name: value for name, value in found.items() if SINCE.get(name, ...) != value}


def of_these_settings(rows: list[dict[str, Any]], scale: Scale) -> list[dict[str, Any]]:
    """Without the lines of trainings with others: they stay in the file, and out of the tables."""
    known = {(arm.group, arm.name, arm.preset): arm for arm in arms()}
    asked = [(row, known.get((row["group"], row["name"], row["preset"]))) for row in rows]
    return [
        row
        for row, arm in asked
        if arm and (arm.scaled or row["iterations"] == scale.iterations)
        and key_of(arm, row["seed"], scale, row["iterations"]) == row["key"]
    ]  # fmt: skip


def jobs(
    chosen: list[Arm], seeds: int, scale: Scale, cost: dict[str, Any], rows: list[dict[str, Any]]
) -> Iterator[tuple[Arm, int, int]]:
    """Arm, seed, iterations: all arms with the first seed, then with the second."""
    lengths = [iterations_of(arm, scale, cost, rows) for arm in chosen]
    return ((arm, seed, length) for seed in range(seeds) for arm, length in zip(chosen, lengths, strict=True))


def iterations_of(arm: Arm, scale: Scale, cost: dict[str, Any], rows: list[dict[str, Any]]) -> int:
    """Those of a training; where it takes another arm's seconds, as in the rows that there are, else by the costs."""
    if arm.scaled is None:
        return scale.iterations
    known = (row["iterations"] for row in rows if (row["name"], row["preset"]) == (arm.name, arm.preset))
    taken = [cost[name]["training_milliseconds"] for name in (arm.scaled, arm.name.removesuffix(AS_LONG))]
    return next(known, round(taken[0] / taken[1] * scale.iterations))


def timed(chosen: list[Arm]) -> list[Arm]:
    """Those of the arms whose costs are measured, and those that the others' length of training is taken from."""
    asked = {name for arm in chosen if arm.scaled for name in (arm.scaled, arm.name.removesuffix(AS_LONG))}
    return [arm for arm in arms() if not (arm.afterwards or arm.scaled) and (arm in chosen or arm.name in asked)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small, short and few: whether it runs")
    parser.add_argument("--groups", nargs="*", default=None, choices=sorted({arm.group for arm in arms()}))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no training after so many")
    parser.add_argument("--finished", action="store_true", help="only show what is there")
    parser.add_argument("--folder", type=Path, default=Path("runs/apriori"), help="data and models")
    parser.add_argument("--out", type=Path, help="lines and tables; default: results/apriori, --quick: FOLDER/quick")
    given = parser.parse_args()
    torch.set_num_threads(1)
    scale = QUICK if given.quick else Scale()
    chosen = [arm for arm in arms() if given.groups is None or arm.group in given.groups]
    if given.quick:
        chosen = [arm for arm in chosen if (arm.group, arm.preset, arm.name) in QUICK_ARMS]
    out = given.out or (given.folder / "quick" if given.quick else RESULTS)
    with sole_user(given.folder):  # two at once would train the same arm, and lose each other's lines
        study(chosen, given, scale, out)


def study(chosen: list[Arm], given: argparse.Namespace, scale: Scale, out: Path) -> None:
    """Train what is missing, and write the tables of what is there."""
    begin = time.perf_counter()
    cost = costs({arm.name: arm.forecaster() for arm in timed(chosen)}, scale.grid, out, given.finished)
    own = of_these_settings(read_lines(out / "runs.jsonl"), scale)
    for arm, seed, iterations in jobs(chosen, given.seeds, scale, cost, own) if not given.finished else ():
        done = {line["key"] for line in read_lines(out / "runs.jsonl")}
        key = key_of(arm, seed, scale, iterations)
        if key in done or time.perf_counter() - begin > 60 * given.minutes:
            continue
        print(f"{arm.preset}: {arm.name}, seed {seed}", flush=True)
        row = finished(arm, seed, scale, given.folder, iterations)
        about = {"group": arm.group, "name": arm.name, "preset": arm.preset, "size": arm.size, "seed": seed}
        log_lines(out / "runs.jsonl", [{**about, **row}], key=key)
    apriori_tables.write(of_these_settings(read_lines(out / "runs.jsonl"), scale), cost, out)


QUICK_ARMS = (  # one of each group, and what the claims are about
    ("main", "packing", CLASSICAL),
    ("main", "packing", ONE_WAY),
    ("thin", "packing", "classical, 7 channels"),
    ("other presets", "random", ONE_WAY),
    ("data", "random", "one-way, 8 trajectories"),
    ("afterwards", "packing", "classical decomposed to rank 32 and tuned"),
    ("families", "packing", "cp-series, rank 32"),
    ("time", "packing", f"classical, 7 channels{AS_LONG}"),
    ("networks", "packing", "effective medium, one-way, 16 wide"),
)

if __name__ == "__main__":
    main()
