"""A packing for ParaView: particles as points with their radii, contacts as lines with their forces (VTU, by meshio).

In ParaView: Glyph, sphere, scaled by `radius` with factor 2, shows the particles; Tube, by `force`, the force chains. A
contact through the border of the periodic box has its line from the first particle to the image of the second one,
which is an additional point; `particle` says of each point which particle it is, and those past the first N are images.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wavesim.errors import WavesimError
from wavesim.granular.packing import LARGE, SMALL, SPRING_CONSTANT, Packing
from wavesim.provenance import whole_file

POINT_DATA = ("particle", "radius", "species", "box")


def write_vtu(path: str | Path, packing: Packing) -> Path:
    """Write one packing.

    Point data: particle, radius, species, box (its sides, the same in all points). Cell data: force (0 for a point),
    kind (0 SS, 1 LS, 2 LL, -1 for a point).

    Raises:
        WavesimError: another suffix, or a full disk.
    """
    import meshio

    path = Path(path)
    if path.suffix != ".vtu":
        raise WavesimError(f"{path}: a packing is written as .vtu, not '{path.suffix}'")
    count, contacts = len(packing.radii), packing.contacts
    first, second = contacts.pairs.T
    positions = np.mod(packing.positions, packing.box)
    ends = positions[first] + contacts.vectors
    through = np.abs(ends - positions[second]).max(axis=1, initial=0) > packing.box.min() / 2
    particle = np.concatenate([np.arange(count), second[through]])
    points = np.concatenate([positions, ends[through]])
    target = second.copy()
    target[through] = count + np.arange(through.sum())
    kind = packing.species[contacts.pairs].sum(axis=1).astype(np.int64)
    mesh = meshio.Mesh(
        np.pad(points, ((0, 0), (0, 3 - packing.dim))),
        [("vertex", np.arange(count)[:, None]), ("line", np.stack([first, target], axis=1))],
        point_data={
            "particle": particle,
            "radius": packing.radii[particle],
            "species": packing.species[particle].astype(np.int64),
            "box": np.tile(packing.box, (len(points), 1)),
        },
        cell_data={
            "force": [np.zeros(count), SPRING_CONSTANT * contacts.overlap],
            "kind": [np.full(count, -1), kind],
        },
    )
    with whole_file(path) as part:
        mesh.write(part)
    return path


def read_vtu(path: str | Path) -> Packing:
    """The packing of a file that `write_vtu` wrote.

    Raises:
        WavesimError: no such file, or another kind of VTU.
    """
    import meshio

    if not Path(path).exists():
        raise WavesimError(f"{path} does not exist; give a VTU file")
    try:
        mesh = meshio.vtu.read(str(path))  # meshio.read ends the whole process on a damaged file
    except Exception as error:  # whatever meshio trips over: it looks at little before it reads
        raise WavesimError(f"{path} is no VTU file that can be read ({type(error).__name__}: {error})") from error
    lacking = [name for name in POINT_DATA if name not in mesh.point_data]
    if lacking:
        raise WavesimError(f"{path} is no packing of ours: it lacks the point data {', '.join(lacking)}")
    points, particle, radii, species, box = (
        np.asarray(values) for values in (mesh.points, *(mesh.point_data[name] for name in POINT_DATA))
    )
    if points.ndim != 2 or not points.size or box.shape not in ((len(points), 2), (len(points), 3)):
        raise WavesimError(f"{path} is no packing of ours: {len(points)} points, with a box of shape {box.shape}")
    count = int(particle.max()) + 1
    if count > len(points) or not np.array_equal(particle[:count], np.arange(count)):
        raise WavesimError(f"{path}: particles are not numbered 0, 1, ..., {count - 1} among {len(points)} points")
    if not all(np.isfinite(values[:count]).all() for values in (points, radii, box)) or not (radii[:count] > 0).all():
        raise WavesimError(f"{path}: positions, radii and box must be finite, radii positive")
    if not np.isin(species[:count], (SMALL, LARGE)).all():
        raise WavesimError(f"{path}: species must be 0 (small) or 1 (large)")
    return Packing(
        points[:count, : box.shape[1]],
        radii[:count],
        species[:count],
        box[0],
        engine=f"read from {Path(path).name}",
    )
