"""One training in a folder of its own, with all that one wants to know of it later.

RUN/config.toml          seed, data and settings; other ones are refused
RUN/log.txt              what happened when
RUN/curves.csv, .png     loss and validation error; tensorboard/ where its package is there
RUN/model.safetensors    the best weights; in its header settings, scale and hash of the data, versions
RUN/README.md            the model's card, written last: with it the run is whole
RUN/.training, .lock     the running checkpoint until then; who is at work here
"""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

from wavesim.config import as_toml, parse
from wavesim.dataset import WaveDataset
from wavesim.errors import WavesimError
from wavesim.given import MODEL
from wavesim.lock import sole_user
from wavesim.metrics import relative_l2
from wavesim.provenance import discard_parts, file_hash, machine, revision, versions, whole_file
from wavesim.recipes import OF_A_RUN, RecipeConfig
from wavesim.settings import differences
from wavesim.surrogate import Forecaster, load, save
from wavesim.surrogate.checkpoint import read_header
from wavesim.surrogate.data import between_its_sides, courant_of, data_hash, validation_batch
from wavesim.surrogate.logs import Progress, add_line, write_curves
from wavesim.surrogate.train import Fitted, about, fitted, prepare, untrained
from wavesim.surrogate.unrolled import rollout_errors
from wavesim.viz.figures import training_curves
from wavesim.well_dataset import open_split

CARD = "README.md"
FRAMES = (1, 2, 4, 8, 16, 32)  # of the card's table


def train_run(
    recipe: RecipeConfig,
    data: str | Path,
    out: str | Path,
    seed: int = 0,
    progress: Progress | None = None,
    device: str = "cpu",
    devices: int = 1,
    workers: int = 0,
    command: str = "wavesim.train_run(...)",
) -> bool:
    """Train a forecaster and fill the folder OUT; a call after a kill goes on from the last validation.

    Args:
        device, devices, workers: as in `surrogate.train`. command: what the card says that made it.
    Returns:
        whether there was anything left to do.
    Raises:
        WavesimError: as `surrogate.train`; a folder begun with other settings, seed or data, or with other things in
            it; another process at work there.
    """
    out, splits = Path(out), (open_split(data, "train"), open_split(data, "valid"))
    settings = _settings(recipe, splits, seed)
    if _claimed(out, settings):
        return False
    model = untrained(between_its_sides(recipe.forecaster, splits[0]), courant_of(splits[0]), seed)
    job = prepare(model, data, recipe.training, seed, out / ".training", device, devices, workers, out)
    with sole_user(out):
        if _claimed(out, settings):  # once more, now that nobody else is at work here
            return False
        discard_parts(out)
        with whole_file(out / "config.toml") as part:
            part.write_text(settings)
        add_line(out / "log.txt", f"{command}; {machine()}, device {device}, {devices} at once, revision {revision()}")
        result = fitted(job, progress)
        write_curves(out / "curves.csv", result.history)
        training_curves(out / "curves.png", {recipe.forecaster.kind: result.history})
        save(model, out / MODEL, about(job, splits))
        with whole_file(out / CARD) as part:
            part.write_text(card(out, result, splits, command, f"{machine()}; device {device}, {devices} at once"))
        shutil.rmtree(job.folder)
        add_line(out / "log.txt", f"whole after {result.seconds:.1f} s")
    return True


def _settings(recipe: RecipeConfig, splits: tuple[WaveDataset, WaveDataset], seed: int) -> str:
    root = splits[0].root
    own = {"seed": seed, "data": str(root.resolve()), "data_hash": data_hash(root, splits)}
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in own.items()) + "\n" + as_toml(recipe)


def _claimed(out: Path, settings: str) -> bool:
    """Whether a run with these settings is whole in `out`. Raises WavesimError where it holds anything else."""
    if not (out / "config.toml").is_file():
        if out.exists() and any(path.name != ".lock" for path in out.iterdir()):
            raise WavesimError(f"{out} is there and holds no training (no config.toml); give another --out")
        return False
    found, wanted = tomllib.loads((out / "config.toml").read_text()), tomllib.loads(settings)
    own = {key: value for key, value in found.items() if key not in OF_A_RUN}
    known = parse(own, RecipeConfig, str(out / "config.toml"))  # with the defaults of settings that came later
    found = {**found, **tomllib.loads(as_toml(known))}
    changed = differences(found, {**wanted, "data": found.get("data")})
    if changed:
        said = ", ".join(line.replace("data_hash", "other data: hash") for line in changed)
        raise WavesimError(
            f"{out} was begun with other settings ({said}); give another --out, or move that folder away"
        )
    return all((out / name).is_file() for name in (MODEL, CARD))


def card(run: Path, result: Fitted, splits: tuple[WaveDataset, WaveDataset], command: str, where: str) -> str:
    """The model's card, in Markdown, from what the folder holds."""
    model, header = load(run / MODEL), read_header(run / MODEL)
    states, media = validation_batch(splits[1])
    data, config = header["about"]["data"], header["config"]
    macs = model.macs((data["grid"][0], data["grid"][1]))
    cells = f"{data['grid'][1]} x {data['grid'][0]}"
    rows = {
        "made by": f"`{command}`, seed {header['about']['seed']}",
        "versions": ", ".join(f"{name} {number}" for name, number in versions("torch", "lightning").items())
        + f"; revision {revision()}",
        "data": f"{splits[0].root}, hash {data['hash']}: "
        + ", ".join(f"{number} {split}" for split, number in data["trajectories"].items())
        + f" trajectories of {data['frames']} frames, {cells} cells, one frame every {data['frame_interval']:.5g}, "
        f"sides {', '.join(data['sides'])}",
        "normalisation": data["normalisation"],
        "parameters": f"{model.weights():,}; {(run / MODEL).stat().st_size / 1e3:.1f} kB",
        "multiply-accumulates": f"{macs['frame'] / 1e6:.2f} million a frame of {cells} cells, and "
        f"{macs['encode'] / 1e6:.2f} million once a medium",
        "trained on": where,
        "training time": f"{result.seconds:.0f} s for {result.history[-1]['iteration']} iterations",
        "SHA-256": file_hash(run / MODEL),
    }
    return f"""# A {config.kind} forecaster of waves

| | |
| --- | --- |
{_lines(rows.items())}
Relative L2 error of the pressure over rollouts from the first state of {len(states)} validation
trajectories, mean and worst of them; beside it that of a field that stays as it is. These trajectories chose the
weights: errors on others are printed by `wavesim evaluate {run} --data {splits[0].root}`.

| frame | mean | worst | no change |
| ---: | ---: | ---: | ---: |
{_lines(_errors(model, states, media))}
![Training loss and validation error over the iterations](curves.png)

```python
from wavesim import load, rollout
forecast = rollout(load("{MODEL}"), state, medium, frames=32)   # state: (p, dt p_t), medium: (kappa, rho); (2, y, x)
```
It steps by {model.courant:.4g} cells a frame of a wave of speed 1, on grids of any size; all settings: config.toml.
"""


def _errors(model: Forecaster, states: Any, media: Any) -> list[tuple[str, ...]]:
    """Frame, mean, worst, and the error of no change, of the card's frames that are there."""
    errors = rollout_errors(model, states, media)
    pressure = states[:, :, 0].numpy()
    still = relative_l2(pressure[:, :1], pressure[:, 1:]).mean(axis=0)
    return [
        (str(frame), f"{errors[frame - 1].mean():.4f}", f"{errors[frame - 1].max():.4f}", f"{still[frame - 1]:.3f}")
        for frame in FRAMES
        if frame <= len(errors)
    ]


def _lines(rows: Any) -> str:
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)
