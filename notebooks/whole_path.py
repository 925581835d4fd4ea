# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The whole path, small
#
# Jam disks, run waves through them with finite elements, train two forecasters, prune one, and judge them all against
# the truth. The settings are those of `wavesim demo --config quick`: they show that everything works, in about a
# minute. For forecasts that are worth looking at, run `make demo`.

# %%
from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import numpy as np
import torch

import wavesim
from wavesim.cli import settings
from wavesim.demo import twins

run = Path(mkdtemp())
config = settings("quick")
torch.set_num_threads(1)

# %% [markdown]
# ## 1. Packings
# LAMMPS quenches disks above jamming and lets the box expand until the pressure all but vanishes. $\phi_J$ is the
# packing fraction at which it would; $Z$ counts contacts of those that carry load, and is near $2 D = 4$; the rest
# rattle.

# %%
from wavesim.granular import generate_packings

for row in generate_packings(config.packings, run, seed=1, progress=False)[::4]:
    print(
        f"{row['name']}: size ratio {row['size_ratio']:.2f}, phi_J {row['phi_j']:.4f}, Z {row['coordination']:.2f}, "
        f"{row['rattler_fraction']:.0%} rattlers, K {row['bulk_modulus']:.3f} k_n"
    )

# %% [markdown]
# ## 2. The truth
# Spectral elements solve $\frac{1}{\kappa} p_{tt} = \nabla\cdot(\frac{1}{\rho}\nabla p)$ between rigid walls. The
# grains are 20 times as stiff and 5 times as dense as what lies between them. Every dataset states its own error.

# %%
from wavesim.fem import generate_waves

summary = generate_waves(config.waves, run / "packings.h5", run / "waves", seed=1, progress=False)
summary

# %%
test = wavesim.WaveDataset(run / "waves", "test")
trajectory = test.trajectory(0)
figure, axes = plt.subplots(1, 4, figsize=(11, 3), layout="constrained")
axes[0].imshow(np.log(trajectory.medium[0]), origin="lower", cmap="Greys")
axes[0].set_title("log bulk modulus")
for axis, frame in zip(axes[1:], (0, 8, 24), strict=True):
    limit = abs(trajectory.state[frame, 0]).max()
    axis.imshow(trajectory.state[frame, 0], origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit)
    axis.set_title(f"pressure at t = {frame * trajectory.frame_interval:.2f}")
for axis in axes:
    axis.set_axis_off()

# %% [markdown]
# ## 3. Two forecasters
# Both correct one coarse explicit step by a network that is linear in the state and gated by the medium. The classical
# one has $k \times k$ filters; its twin has one-way filters from the start. Training runs on ever longer rollouts.

# %%
from wavesim.surrogate import train

for name, forecaster in twins(config).items():
    path = train(forecaster, config.training, run / "waves", run / "models" / f"{name}.safetensors", seed=1)
    print(f"{name}: {sum(p.numel() for p in wavesim.load(path).parameters()):,} parameters")

# %% [markdown]
# A forecast takes three lines:

# %%
model = wavesim.load(run / "models" / "compressed.safetensors")
forecast = wavesim.rollout(model, trajectory.state[0], trajectory.medium, frames=8)
forecast.shape

# %% [markdown]
# Everything is nondimensional. For water between grains, in a box of 10 cm, one crossing takes

# %%
scale = wavesim.Scale(length=0.1, density=1000.0, bulk_modulus=2.2e9)
f"{1e6 * scale.to_si('time', 1.0):.1f} microseconds"

# %% [markdown]
# ## 4. Pruning
# The PQ index of the ranks' importances says how many of them may go. What is cut is really gone: the file holds a
# smaller network, not one with zeros.

# %%
from wavesim.pruning import prune

rounds = prune(
    run / "models" / "compressed.safetensors",
    run / "waves",
    config.pruning,
    config.training,
    run / "models" / "pruned.safetensors",
    seed=1,
)
for row in rounds:
    print(f"round {row['round']}: PQ index {row['pq_index']:.3f}, {row['parameters']:,} parameters")

# %% [markdown]
# ## 5. The verdict
# Every error is against the finite-element truth on packings that were never trained on; the last column names the
# cheapest finite-element run that is as good.

# %%
from IPython.display import Markdown

from wavesim.demo import models_of
from wavesim.evaluate import evaluate
from wavesim.report import as_text

results = evaluate(models_of(run), run / "waves", run / "models", progress=False)
Markdown(as_text(results))

# %%
from IPython.display import Image

from wavesim.viz import figures

curves = {row["name"]: np.array(row["errors"]) for row in results["rows"] if row["kind"] not in ("fe", "truth")}
Image(figures.error_curves(run / "errors.png", curves, results["frame_interval"]), width=640)
