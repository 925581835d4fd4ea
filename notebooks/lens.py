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
# # A lens of grains
#
# How stiff a jammed packing of large and small spheres is depends on their mixture. So does its wave speed, and a
# mixture that changes from place to place bends waves. Here is the way from measured packings to a lens that focuses a
# plane wave: diagram, mixture, speed, rays, and the wave equation as the judge. It takes half a minute.

# %%
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from wavesim import fem

root = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "data/diagram.json").is_file())
plt.rcParams["figure.dpi"] = 80

# %% [markdown]
# ## 1. The jamming diagram
# Spheres of two sizes were compressed until they jam, at each concentration $X_S$ of the small ones by volume (error
# bars: standard deviation over packings). The packing fraction $\phi_J$ and the bulk modulus $K$ there give the speed
# of long waves, $c = \sqrt{K / \phi_J}$ in units of the springs, the large diameter and the grains' own density.

# %%
SIZE_RATIO = 0.4
rows = json.loads((root / "data/diagram.json").read_text())["rows"]
figure, axes = plt.subplots(1, 3, figsize=(11, 3), layout="constrained")
for ratio, marker in ((SIZE_RATIO, "o"), (0.73, "s")):
    own = [row for row in rows if row["dim"] == 3 and row["size_ratio"] == ratio]
    x, phi, bulk = (np.array([row[name] for row in own]) for name in ("small_fraction", "phi_j", "bulk_modulus"))
    spread = [np.array([row[f"{name}_deviation"] for row in own], float) for name in ("phi_j", "bulk_modulus")]
    axes[0].errorbar(x, phi, spread[0], marker=marker, capsize=2, label=f"size ratio {ratio:g}")
    axes[1].errorbar(x, bulk, spread[1], marker=marker, capsize=2)
    axes[2].plot(x, np.sqrt(bulk / phi), marker=marker)
for axis, name in zip(axes, (r"$\phi_J$", "$K$ / ($k_n / d$)", r"$c = \sqrt{K/\phi_J}$"), strict=True):
    axis.set(xlabel="$X_S$", title=name)
_ = axes[0].legend()

# %% [markdown]
# Replacing large spheres by small ones makes the packing faster, by half at this size ratio: speed is ours to
# choose. That is so because all contacts have one spring constant, whatever the size: spheres of diameter 0.4 alone are
# then 1 / 0.4 times as stiff as those of diameter 1. With springs proportional to the diameter, as of grains of one
# material, both ends would have one speed.

# %% [markdown]
# ## 2. From a wanted speed to a mixture
# A Luneburg lens of radius $R$ has the refractive index $n = \sqrt{2 - (r/R)^2}$: it sends all parallel rays to one
# point of its rim. Its middle is slower than its surroundings by $\sqrt 2$, which these mixtures can do. The fastest of
# them is the background; $X_S(x, y)$ follows from the diagram read backwards.

# %%
diagram = fem.read_diagram(root / "data/diagram.json")
mixtures = fem.Mixtures.between(diagram, SIZE_RATIO, (0.1, 0.9))
slowest = mixtures.speeds.min() / mixtures.speeds.max()
print(f"speeds from {slowest:.2f} to 1 of the fastest mixture, X_S = {mixtures.fastest:g}; the lens needs 0.71")

CENTER, RADIUS = np.array([0.75, 0.5]), 0.4


def wanted_speed(x, y):
    return 1 / np.sqrt(2 - np.minimum(((x - CENTER[0]) ** 2 + (y - CENTER[1]) ** 2) / RADIUS**2, 1))


lens = fem.of_speed(mixtures, wanted_speed)

# %%
LENGTHS, CELLS = (1.4, 1.0), (100, 140)
x, y = (np.arange(CELLS[1]) + 0.5) / 100, (np.arange(CELLS[0]) + 0.5) / 100
extent = (0, LENGTHS[0], 0, LENGTHS[1])
speed = np.sqrt(lens.bulk_modulus(x[None], y[:, None]) / lens.density(x[None], y[:, None]))
figure, axes = plt.subplots(1, 3, figsize=(11, 2.8), layout="constrained")
maps = (mixtures.of_speed(wanted_speed(x[None], y[:, None])), lens.density(x[None], y[:, None]), speed)
for axis, values, name in zip(axes, maps, ("$X_S$", r"density, $\phi_J / \phi_0$", "wave speed"), strict=True):
    shown = axis.imshow(values, origin="lower", extent=extent, cmap="cividis")
    figure.colorbar(shown, ax=axis, shrink=0.8)
    axis.set_title(name)

# %% [markdown]
# ## 3. Rays
# A plane wave comes from the left. Its rays, traced through the matter's own speed, meet at the far rim, all at one
# time.

# %%
heights = 0.5 + RADIUS * np.linspace(-0.95, 0.95, 31)
paths = fem.rays(lens, np.column_stack([np.zeros(31), heights]), 0.0, np.linspace(0, 1.6, 321))
when, meeting = fem.focus(paths)
print(
    f"rays meet at ({meeting[0]:.3f}, {meeting[1]:.3f}); the rim opposite is at ({CENTER[0] + RADIUS:g}, {CENTER[1]:g})"
)
figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
axis.imshow(speed, origin="lower", extent=extent, cmap="cividis")
axis.plot(paths[:, :, 0], paths[:, :, 1], color="crimson", lw=0.8)
axis.plot(*meeting, "k+", ms=14)
_ = axis.set(xlim=(0, LENGTHS[0]), ylim=(0, LENGTHS[1]), title="rays over wave speed")

# %% [markdown]
# ## 4. Waves
# Rays are the limit of no wavelength. Spectral elements of degree 4, nearly three to a wavelength where it is
# shortest, solve
# $\frac{1}{\kappa} p_{tt} = \nabla\cdot(\frac{1}{\rho}\nabla p)$ for a wave packet of wavelength 0.1. Left and right
# absorb, and rigid walls above and below keep the wave plane.

# %%
from wavesim.fem.simulation import next_frame, sample
from wavesim.fem.stepper import frame, init

WAVELENGTH = 0.1
sides = fem.Sides("absorbing", "absorbing")
problem = fem.assemble(lens, fem.Nodes((56, 40), 4, LENGTHS), 0.01, CELLS, sides, layer=8)
packet = fem.PlanePacket((0.15, 0.5), 0.0, WAVELENGTH, 0.05)
state = init(problem.operator, problem.at_unknowns(packet.pressure), problem.at_unknowns(packet.rate))
fields = [sample(problem, frame(problem.operator, state))[0]]
for _ in range(170):
    state = next_frame(problem, state)
    fields.append(sample(problem, frame(problem.operator, state))[0])
pressure = np.array(fields)
figure, axes = plt.subplots(1, 4, figsize=(12, 2.4), layout="constrained")
for axis, step in zip(axes, (0, 55, 90, 118), strict=True):
    axis.imshow(pressure[step], origin="lower", extent=extent, cmap="RdBu_r", vmin=-1.5, vmax=1.5)
    axis.add_patch(plt.Circle(tuple(CENTER), RADIUS, fill=False, ls=":"))
    axis.set_title(f"t = {step / 100:g}")
    axis.set_axis_off()

# %% [markdown]
# ## 5. The focus
# Where has the wave been strongest? The time integral of $p^2$ says it, and the rays had said it before.

# %%
exposure = (pressure**2).sum(axis=0) / 100
row, column = np.unravel_index(np.argmax(exposure), CELLS)
brightest = np.array([x[column], y[row]])
away = np.linalg.norm(brightest - meeting) / WAVELENGTH
print(f"brightest at ({brightest[0]:.3f}, {brightest[1]:.3f}), {away:.2f} wavelengths from where the rays meet,")
print(f"{exposure.max() / np.median(exposure):.0f} times as bright as usual")
figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
shown = axis.imshow(exposure / np.median(exposure), origin="lower", extent=extent, cmap="magma")
figure.colorbar(shown, ax=axis, shrink=0.8)
axis.add_patch(plt.Circle(tuple(CENTER), RADIUS, fill=False, ls=":", color="white"))
axis.plot(*meeting, "c+", ms=14, label="rays meet")
axis.plot(*brightest, "o", mfc="none", mec="lime", ms=12, label="brightest")
axis.legend(loc="upper left")
_ = axis.set_title(r"$\int p^2\,dt$ over its median")

# %% [markdown]
# ## 6. How well must the diagram be known?
# The lens is mixed by the diagram's means. Say that the true $K$ and $\phi_J$ were others, each drawn with the
# standard deviation that the packings had: the same mixtures then have other speeds, and their rays meet elsewhere, or
# less well.

# %%
own = {row["small_fraction"]: row for row in rows if row["dim"] == 3 and row["size_ratio"] == SIZE_RATIO}
spread = np.array(
    [[own[x][f"{name}_deviation"] for x in mixtures.small_fractions] for name in ("bulk_modulus", "phi_j")]
)
random = np.random.default_rng(0)
shifts, blurs = [], []
for _ in range(20):
    bulk, phi = np.array([mixtures.bulk_moduli, mixtures.phi_j]) + spread * random.standard_normal(spread.shape)
    other = fem.Diagram(np.array([SIZE_RATIO]), [mixtures.small_fractions], [bulk], [phi])
    background = (SIZE_RATIO, mixtures.fastest)
    real = fem.jammed(other, SIZE_RATIO, lambda x, y: mixtures.of_speed(wanted_speed(x, y)), background)
    bent = fem.rays(real, paths[0], 0.0, np.linspace(0, 1.6, 321))
    at, place = fem.focus(bent)
    shifts.append(place - meeting)
    blurs.append(np.sqrt(bent[at].var(axis=0).sum()))
along, across = np.std(shifts, axis=0) / WAVELENGTH
print(f"the focus moves by {along:.2f} wavelengths along and {across:.2f} across (standard deviations);")
print(f"the rays miss each other by {np.mean(blurs) / WAVELENGTH:.2f} wavelengths, instead of "
      f"{np.sqrt(paths[when].var(axis=0).sum()) / WAVELENGTH:.2f}")  # fmt: skip

# %% [markdown]
# A dataset of such lenses, of random places and sizes, takes a file of settings:
#
# ```toml
# preset = "lens"
# [mixture]
# diagram = "data/diagram.json"
# size_ratio = 0.4
# small_fractions = [0.1, 0.9]
# ```
#
# and `wavesim generate waves lens.toml --n 1000 --out runs/lenses`.
