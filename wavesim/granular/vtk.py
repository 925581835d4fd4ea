"""A packing for ParaView: particles as points with their radii, contacts as lines with their forces (VTU, by meshio).

In ParaView: Glyph, sphere, scaled by `radius` with factor 2, shows the particles; Tube, by `force`, the force chains. A
contact through the border of the periodic box has its line from the first particle to the image of the second one,
which is an additional point; `particle` says of each point which particle it is, and those past the first N are images.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from wavesim.errors import WavesimError
from wavesim.granular.packing import SPRING_CONSTANT, Packing
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

    try:
        mesh = meshio.vtu.read(str(path))  # meshio.read ends the whole process on a damaged file
    except (OSError, meshio.ReadError, ElementTree.ParseError) as error:
        raise WavesimError(f"{path} is no VTU file that can be read ({type(error).__name__}: {error})") from error
    lacking = [name for name in POINT_DATA if name not in mesh.point_data]
    if lacking:
        raise WavesimError(f"{path} is no packing of ours: it lacks the point data {', '.join(lacking)}")
    box = mesh.point_data["box"][0]
    count = int(mesh.point_data["particle"].max()) + 1
    radii, species = (np.array(mesh.point_data[name][:count]) for name in ("radius", "species"))
    return Packing(
        mesh.points[:count, : len(box)], radii, species, np.array(box), engine=f"read from {Path(path).name}"
    )
