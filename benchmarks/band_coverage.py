"""Do bands hold on unseen media? Forecasters' bounds are calibrated on some media and counted on others.

Two datasets of one kind and of two seeds, one trajectory a medium: train and valid of the first calibrate, as `wavesim
calibrate` does, the whole second tests. Beside the band stands what it was chosen from: one number for each lead time,
and the coarse defect as it is, calibrated on the same media.
    packing-smooth    the demo's packings, by default with data/models/demo
    packing           sharp grains, with data/models/packing
    random            a smooth random field of wave speed, with data/models/random
Each forecaster is a line of results/coverage.jsonl; what is whole is not made again, a killed call goes on.

By default 50 media fit the scale, 400 calibrate and 800 test: then a band's coverage, as it is counted, is within 3 %
of its level with a probability of 0.9 at each lead time; of 200 that calibrate and 400 that test it would be 0.75. On
one idle core the waves take 13 minutes of packing-smooth and about 1.7 hours of packing, a forecaster 4 minutes.

    OMP_NUM_THREADS=1 python benchmarks/band_coverage.py [--preset packing --models MODEL.safetensors ...] [--quick]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wavesim.calibrate import calibrate, fitting, measured
from wavesim.coverage import summary
from wavesim.dataset import SPLITS, WaveDataset
from wavesim.fits import check_fits
from wavesim.lock import sole_user
from wavesim.media import media_of
from wavesim.metrics import one_crossing
from wavesim.provenance import log_lines, machine, read_lines, revision
from wavesim.surrogate import init, load, step
from wavesim.surrogate.band import Band
from wavesim.surrogate.checkpoint import fingerprint_of
from wavesim.surrogate.conformal import quantiles
from wavesim.surrogate.loops import in_loops

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SEEDS = {"calibrating": 101, "testing": 202}  # the demo, whose forecasters these are, has seed 0
SCALES = ("constant", "defect", "band")


@dataclass(frozen=True)
class Scale:
    """How many media calibrate and test, and what the settings of their waves are, as TOML below the preset's name."""

    media: dict[str, int]
    settings: dict[str, str]


FULL = Scale(
    {"calibrating": 450, "testing": 800},
    {
        "packing-smooth": "pulses = 1\nverified = 0\n",
        "packing": "pulses = 1\nverified = 0\n",
        "random": "grid = [64, 64]\nframe_interval = 0.03125\nframes = 65\nverified = 0\nshard = 4\n",
    },
)
SMALL = "grid = {grid}\nframe_interval = 0.125\nframes = 9\nverified = 0\npulse_width = 0.1\n"
QUICK = Scale(
    {"calibrating": 16, "testing": 24},
    {
        "packing-smooth": "pulses = 1\nelements = 16\n" + SMALL.format(grid=16),
        "packing": "pulses = 1\nelement_size = 0.1\n" + SMALL.format(grid=16),
        "random": "elements = [12, 12]\nshard = 1\n" + SMALL.format(grid=[16, 16]),
    },
)


def dataset(preset: str, role: str, scale: Scale, folder: Path) -> Path:
    """The waves of a role, made where they are missing."""
    media = scale.media[role]
    # Of each mixture one packing goes to the split that does not calibrate, of a preset's files an eighth at least.
    spare = {"packing-smooth": 2, "packing": 1, "random": 0}[preset] * (role == "calibrating")
    count = media + spare if preset != "random" or role == "testing" else -(-media * 8 // 7) + 8
    root = folder / f"{preset}-{role}-{count}"
    if (root / "checksums.txt").exists():  # the last that is written
        return root
    toml = root.with_suffix(".toml")
    toml.parent.mkdir(parents=True, exist_ok=True)
    shares = "test_share = 1e-6\n" if role == "calibrating" and preset != "random" else ""
    toml.write_text(f'preset = "{preset}"\n{shares}{scale.settings[preset]}')
    seed = SEEDS[role]
    if preset == "random":
        _command("generate", "waves", toml, "--n", count, "--seed", seed, "--workers", 1, "--out", root)
        return root
    packings = folder / f"{preset}-{role}-{count}-packings"
    if preset == "packing":
        mixture = ("--particles", 64, "--size-ratio", 1 / 1.4, "--small-fraction", 0.5, "--n", count)
        _command("generate", "packings", *mixture, "--seed", seed, "--workers", 1, "--out", packings)
    else:
        run = packings.with_suffix(".toml")
        run.write_text(f"[packings]\nper_ratio = {count // 2}\n")
        _command("generate", "packings", "--config", run, "--seed", seed, "--workers", 1, "--out", packings)
    _command("generate", "waves", toml, "--packings", packings, "--seed", seed, "--workers", 1, "--out", root)
    return root


def _command(*words: object) -> None:
    """A command of wavesim's; a second call makes what is missing and nothing else."""
    subprocess.run([sys.executable, "-m", "wavesim", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def finished(path: Path, calibrating: Path, testing: Path, level: float, folder: Path) -> dict[str, Any]:
    """Calibrate a forecaster and test its band on every medium of the other dataset."""
    model = load(path)
    own = folder / "lines" / f"{path.stem}-{fingerprint_of(model)}-{calibrating.name}.band.json"
    own.parent.mkdir(parents=True, exist_ok=True)
    band = calibrate(path, calibrating, level, own)
    splits = [WaveDataset(testing, name) for name in SPLITS if (testing / "data" / name).is_dir()]
    check_fits(path, model, splits[0])
    media = {key: (split, numbers[0]) for split in splits for key, numbers in media_of(split).items()}
    if shared := media.keys() & set(band.keys):
        raise SystemExit(f"{len(shared)} media are in both datasets")
    lines = measured(model, band.coarse, media, own.with_name(f"{own.stem}-{testing.name}.jsonl"))
    errors, logs = (np.array([line[key] for line in lines], float) for key in ("errors", "features"))
    errors = np.where(np.isfinite(errors), errors, np.inf)
    told: dict[str, Any] = {}
    for name in SCALES:
        bounds = bounds_of(name, band, read_lines(own.with_suffix(".jsonl")), logs)
        told[name] = summary(band, errors, bounds)
    return {
        "frame_interval": splits[0].frame_interval,
        "milliseconds": milliseconds(path, band, splits[0]),
        "fitted": band.fitted,
        "machine": machine(),
        "date": time.strftime("%Y-%m-%d"),
        "revision": revision(),
        **told,
    }


def bounds_of(name: str, band: Band, lines: Sequence[dict[str, Any]], logs: np.ndarray) -> np.ndarray:
    """(medium, time) bounds of media with features `logs`, by a scale calibrated on the same media as `band`."""
    exponents = {"constant": [[0.0, 0.0]], "defect": [[1.0, -1.0]], "band": band.exponents}[name]
    scale = np.exp(np.sum(logs * np.array(exponents), axis=-1))
    if name == "band":
        return np.array(band.quantiles) * scale
    own = sorted(lines, key=lambda line: line["medium"])[fitting(len(lines)) :]
    errors, features = (np.array([line[key] for line in own], float) for key in ("errors", "features"))
    scores = errors / np.exp(np.sum(features * np.array(exponents), axis=-1))
    return quantiles(np.where(np.isfinite(scores), scores, np.inf), band.level) * scale


def milliseconds(path: Path, band: Band, data: WaveDataset) -> dict[str, float]:
    """Medians of a frame of the forecaster, in compiled loops where they know it, and of its band."""
    stepper, medium = in_loops(load(path)), data.medium(0)
    current = init(stepper, data.window(0, 0, 1)[0], medium)
    bounded = band.init(current.state, medium)
    spent: dict[str, list[float]] = {"forecast": [], "band": []}
    for _ in range(100):
        times = [time.perf_counter()]
        current = step(stepper, current)
        times.append(time.perf_counter())
        bounded = band.step(bounded, current.state)
        times.append(time.perf_counter())
        for key, taken in zip(spent, np.diff(times), strict=True):
            spent[key].append(1e3 * float(taken))
    return {key: round(float(np.median(taken)), 3) for key, taken in spent.items()}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """What was counted, in Markdown: at four lead times, over all of them, and how sharp each scale is."""
    lines = [
        f"A bound of {rows[0]['band']['level']:.0%} on the relative L2 of each frame, calibrated on some media and "
        "counted on others, one trajectory a medium. Within: share of the testing media whose error was within, with "
        "Clopper and Pearson's interval of 95 %; bound and error: means over the testing media.",
        "",
        "| preset | forecaster | media: fit, calibrate, test | lead time, crossings | within | bound | error |",
        "|---|---|---|---:|---|---:|---:|",
    ]
    for row in rows:
        band, interval = row["band"], row["frame_interval"]
        frames, crossing = len(band["bound"]), one_crossing(interval, len(band["bound"]))
        for at in sorted({1, max(1, crossing // 2), crossing, frames}):
            low, high = band["interval"][at - 1]
            counts = f"{row['fitted']}, {band['calibrated']}, {band['tested']}"
            lines.append(
                f"| {row['preset']} | {row['model']} | {counts} | {at * interval:.2f} | {band['coverage'][at - 1]:.3f} "
                f"({low:.3f} to {high:.3f}) | {band['bound'][at - 1]:.3f} | {band['error'][at - 1]:.3f} |"
            )
    lines += [
        "",
        "Over all lead times: coverage in the mean, at the least and at the most; and the mean bound over the mean "
        "error, for one number a lead time, the coarse defect as it is, and the band. Milliseconds a frame: medians.",
        "",
        "| preset | forecaster | coverage: mean | least | most | constant | defect | band | ms, forecast | ms, band |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        coverage = np.array(row["band"]["coverage"])
        sharpness = [float(np.mean(np.divide(row[name]["bound"], row[name]["error"]))) for name in SCALES]
        values = [coverage.mean(), coverage.min(), coverage.max()]
        lines.append(
            f"| {row['preset']} | {row['model']} | {' | '.join(f'{value:.3f}' for value in values)} | "
            f"{' | '.join(f'{value:.2f}' for value in sharpness)} | {row['milliseconds']['forecast']:.2f} | "
            f"{row['milliseconds']['band']:.2f} |"
        )
    lines += ["", *(f"{row['preset']}, {row['model']}: {answer(row)}" for row in rows), ""]
    last = max(rows, key=lambda row: row["date"])
    return "\n".join([*lines, f"{last['machine']}, one thread, {last['date']}, revision {last['revision']}.", ""])


def answer(row: dict[str, Any]) -> str:
    """Whether the coverage is what it promises, in a sentence."""
    coverage, level = np.array(row["band"]["coverage"]), row["band"]["level"]
    near = float(np.mean(np.abs(coverage - level) <= 0.03))
    whole = "YES" if abs(coverage.mean() - level) <= 0.03 else "NO"
    return (
        f"within 3 % of {level:.0%}? {whole} in the mean over the lead times ({coverage.mean():.1%}), and at "
        f"{near:.0%} of them."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=tuple(FULL.settings), default="packing-smooth")
    parser.add_argument("--models", type=Path, nargs="*", help="default: those that are shipped for the preset")
    parser.add_argument("--media", type=int, nargs=2, metavar=("CALIBRATING", "TESTING"), help="default: 450 800")
    parser.add_argument("--level", type=float, default=0.9)
    parser.add_argument("--folder", type=Path, default=Path("runs/coverage"), help="data, and errors by medium")
    parser.add_argument("--out", type=Path, help="lines and table; default: results, --quick: FOLDER/quick")
    parser.add_argument("--quick", action="store_true", help="few media, small and short: whether it runs")
    given = parser.parse_args()
    torch.set_num_threads(1)
    shipped = ROOT / "data" / "models" / {"packing-smooth": "demo"}.get(given.preset, given.preset)
    models = given.models or sorted(shipped.glob("*.safetensors"))
    scale = QUICK if given.quick else FULL
    if given.media:
        scale = Scale(dict(zip(SEEDS, given.media, strict=True)), scale.settings)
    out = given.out or (given.folder / "quick" if given.quick else RESULTS)
    out.mkdir(parents=True, exist_ok=True)
    given.folder.mkdir(parents=True, exist_ok=True)
    with sole_user(given.folder):
        roots = [dataset(given.preset, role, scale, given.folder) for role in SEEDS]
        for path in models:
            row = finished(path, roots[0], roots[1], given.level, given.folder)
            log_lines(out / "coverage.jsonl", [row], preset=given.preset, model=path.stem)
        text = table(read_lines(out / "coverage.jsonl"))
        (out / "coverage.md").write_text(text)
        print(text)


if __name__ == "__main__":
    main()
