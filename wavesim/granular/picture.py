"""A picture of a packing and its force chains: contacts as bars as thick as their forces, between the particles.

Disks fill the picture with the periodic box, images at its border included; spheres are glassy, in perspective. Large
particles are blue, small ones orange, rattlers grey. The thickest bar leaves the smallest disks to be seen. Of
spheres, which lie behind each other, small ones are the glassier the smaller, and contacts of more than the mean force
are drawn: the strong network.

Reference: Radjai, Wolf, Jean, Moreau, Phys. Rev. Lett. 80, 61 (1998): the strong network.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from wavesim.granular.packing import LARGE, Packing
from wavesim.provenance import whole_file

BACKGROUND = "#ffffff"
COLOURS = {"rattlers": "#dddddd", "small": "#f5c18a", "large": "#9ec3e6"}
CHAINS = "#8b1a1a"
# Half width of the strongest contact's bar: of the largest diameter, and of disks at most of the smallest one's radius.
THICKEST, OF_SMALLEST = 0.12, 0.72
GLASS = 0.25  # opacity of a large sphere
PIXELS = 900
CLOSER = 1.2  # to a cube than to other boxes, which reach as far as the ball around them that the picture holds


def draw_packing(path: str | Path, packing: Packing, chains: bool = True) -> Path:
    """Draw one packing as a picture (.png), without its force chains if asked to.

    Raises:
        WavesimError: a full disk.
    """
    import pyvista
    from vtkmodules.vtkCommonCore import vtkLogger

    # Without a display VTK warns that there is none before it takes EGL, which is what is wanted.
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_ERROR)
    flat = packing.dim == 2
    plotter: Any = pyvista.Plotter(off_screen=True, window_size=[PIXELS, PIXELS])
    plotter.set_background(BACKGROUND)
    places, particle = _images(packing) if flat else (packing.positions, np.arange(len(packing.radii)))
    shape = pyvista.Disc(inner=0, outer=1, c_res=60) if flat else pyvista.Sphere(radius=1)
    large = packing.species == LARGE
    # The smaller they are, the more of them does a line of sight meet in the same volume.
    small = GLASS * min(1.0, 4 * float(packing.radii.min()))
    opacity = {"rattlers": small, "small": small, "large": GLASS}
    groups = zip(COLOURS, (packing.rattlers, ~packing.rattlers & ~large, ~packing.rattlers & large), strict=True)
    for name, mask in groups:
        chosen = mask[particle]
        if chosen.any():
            points = pyvista.PolyData(np.pad(places[chosen], ((0, 0), (0, 3 - packing.dim))))
            points["radius"] = packing.radii[particle][chosen]
            glyphs = points.glyph(scale="radius", orient=False, geom=shape)
            plotter.add_mesh(glyphs, color=COLOURS[name], opacity=1.0 if flat else opacity[name], lighting=not flat)
    if chains and len(packing.backbone):
        plotter.add_mesh(_chains(packing), color=CHAINS, lighting=not flat)
    _look(plotter, packing)
    with whole_file(path) as part:
        plotter.screenshot(str(part))
    plotter.close()
    return Path(path)


def _images(packing: Packing) -> tuple[np.ndarray, np.ndarray]:
    """(M, D) the particles and those of their images that reach into the box, and (M,) whose images they are."""
    wrapped = np.mod(packing.positions, packing.box)
    found, owners = [], []
    for shift in itertools.product((-1, 0, 1), repeat=packing.dim):
        places = wrapped + shift * packing.box
        reach = packing.radii[:, None]
        inside = ((places + reach > 0) & (places - reach < packing.box)).all(axis=1)
        found.append(places[inside])
        owners.append(np.flatnonzero(inside))
    return np.concatenate(found), np.concatenate(owners)


def _chains(packing: Packing) -> Any:
    """The contacts of the load-bearing network as tubes, images that reach into the box too; of spheres cut there."""
    import pyvista

    contacts, dim = packing.backbone, packing.dim
    begins = np.mod(packing.positions, packing.box)[contacts.pairs[:, 0]]
    shifts = np.array(list(itertools.product((-1, 0, 1), repeat=dim))) * packing.box
    ends = np.stack([begins, begins + contacts.vectors], axis=1) + shifts[:, None, None]  # (shift, contact, end, D)
    seen = ((ends > 0) & (ends < packing.box)).all(axis=-1).any(axis=-1) & _drawn(packing)
    # Over the disks, which lie in the plane z = 0.
    points = np.pad(ends[seen].reshape(-1, dim), ((0, 0), (0, 3 - dim)), constant_values=packing.radii.max())
    strength = np.broadcast_to(contacts.overlap / contacts.overlap.max(), seen.shape)[seen]
    lines = np.insert(np.arange(len(points)).reshape(-1, 2), 0, 2, axis=1)
    network = pyvista.PolyData(points, lines=lines.ravel())
    network["width"] = np.repeat(0.02 + 0.98 * strength, 2) * _thickest(packing)
    tubes = network.tube(scalars="width", absolute=True)
    # A chain that leaves the box ends at its wall, since the sphere that it goes on to is drawn at the other side.
    return tubes if dim == 2 else tubes.clip_box([x for side in packing.box for x in (0, side)], invert=False)


def _drawn(packing: Packing) -> np.ndarray:
    """(C,) mask of the load-bearing contacts: of disks all, of spheres the strong network."""
    overlap = packing.backbone.overlap
    least = 0.0 if packing.dim == 2 else 0.999 * overlap.mean()  # all of a lattice's, whose forces are equal
    mask: np.ndarray = overlap >= least
    return mask


def _thickest(packing: Packing) -> float:
    """Half the width of the strongest contact's bar."""
    most = THICKEST * 2 * float(packing.radii.max())
    return min(most, OF_SMALLEST * float(packing.radii.min())) if packing.dim == 2 else most


def _look(plotter: Any, packing: Packing) -> None:
    """Straight down on the box of disks, which fills the shorter side; from a corner on that of spheres."""
    import pyvista

    if packing.dim == 3:
        sides = packing.box
        plotter.add_mesh(pyvista.Box((0, sides[0], 0, sides[1], 0, sides[2])), style="wireframe", color="#888888")
        plotter.camera_position = "iso"
        if np.allclose(sides, sides[0]):
            plotter.camera.zoom(CLOSER)
        return
    centre = packing.box / 2
    plotter.camera_position = [(*centre, 10.0), (*centre, 0.0), (0, 1, 0)]
    plotter.enable_parallel_projection()
    plotter.camera.parallel_scale = packing.box.min() / 2
    plotter.camera.clipping_range = (1.0, 20.0)
