"""Files of meshes, through meshio: .msh (Gmsh 2.2), .vtu and .xdmf, each in one file.

Curved quadrilaterals are written, and read, as those of nine points: corners, middles of the edges, centre.
"""

from __future__ import annotations

from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from wavesim.errors import WavesimError
from wavesim.fem.mesh import Mesh
from wavesim.provenance import whole_file

FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    ".msh": ("gmsh22", {"binary": False}),
    ".vtu": ("vtu", {}),
    ".xdmf": ("xdmf", {"data_format": "XML"}),
}
TAGS = {".msh": "gmsh:physical", ".vtu": "tags", ".xdmf": "tags"}
KINDS = {"quad": 4, "quad9": 9, "triangle": 3}
# Where the nine points lie in rows of three: s fastest, then t.
NINE = [0, 4, 1, 7, 8, 5, 3, 6, 2]


def write_mesh(mesh: Mesh, path: str | Path) -> None:
    """Points, cells and tags as .msh, .vtu or .xdmf; the file appears whole or not at all.

    Raises:
        WavesimError: another ending, or a full disk.
    """
    import meshio

    path = Path(path)
    file_format, options = FORMATS[_suffix(path)]
    tags = {TAGS[_suffix(path)]: [mesh.tags.astype(np.int32)]}
    if path.suffix == ".msh":
        tags["gmsh:geometrical"] = [mesh.tags.astype(np.int32) + 1]
    points, cells = mesh.points, mesh.cells
    if mesh.curved:
        nine = np.empty((len(cells), 9, 2))
        nine[:, NINE] = mesh.positions(2)
        # One number for the middle of an edge, whichever of its two cells is asked.
        edges = np.sort(np.stack([cells, np.roll(cells, -1, axis=1)], axis=2), axis=2) @ [len(points), 1]
        keys, first, number = np.unique(edges, return_index=True, return_inverse=True)
        middles, centres = nine[:, 4:8].reshape(-1, 2)[first], nine[:, 8]
        number = number.reshape(-1, 4) + len(points)
        cells = np.column_stack([cells, number, len(points) + len(keys) + np.arange(len(cells))])
        points = np.concatenate([points, middles, centres])
    kind = {count: kind for kind, count in KINDS.items()}[cells.shape[1]]
    whole = meshio.Mesh(np.column_stack([points, np.zeros(len(points))]), [(kind, cells)], cell_data=tags)
    with whole_file(path) as part:
        meshio.write(part, whole, file_format=file_format, **options)


def read_mesh(path: str | Path) -> Mesh:
    """A mesh in the plane from .msh, .vtu or .xdmf: its quadrilaterals, or its triangles, and their points.

    Tags are Gmsh's physical groups, or the cell data `tags`; without either all are 0.
    Raises:
        WavesimError: no such file, another ending, a file that is not whole, none of those cells, more than one kind
            of them, points outside one plane, or a mesh that is not valid.
    """
    import meshio

    path = Path(path)
    suffix = _suffix(path)
    if not path.is_file():
        raise WavesimError(f"{path} does not exist")
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            found = meshio.read(path, file_format="gmsh" if suffix == ".msh" else suffix[1:])
    except (Exception, SystemExit) as error:  # whatever one of meshio's readers stumbles over; it may even exit
        raise WavesimError(f"{path} cannot be read as a mesh ({error or 'unknown format'}); write it again") from error
    kinds = sorted({block.type for block in found.cells} & set(KINDS))
    if len(kinds) != 1:
        got = " and ".join(kinds) or ", ".join(sorted({block.type for block in found.cells})) or "no cells"
        raise WavesimError(
            f"{path} holds {got}; a mesh is of quadrilaterals (of 4 points, or of 9), or of triangles of 3, alone"
        )
    blocks = [k for k, block in enumerate(found.cells) if block.type == kinds[0]]
    cells = np.concatenate([found.cells[k].data for k in blocks]).astype(np.int64)
    tags = np.zeros(0, int)
    for name in ("tags", "gmsh:physical"):
        if name in found.cell_data:
            tags = np.concatenate([found.cell_data[name][k] for k in blocks]).astype(np.int64).ravel()
    positions = np.asarray(found.points, float)
    if np.ptp(positions[np.unique(cells), 2:], axis=0).max(initial=0) > 1e-9 * np.ptp(positions[:, :2]):
        raise WavesimError(f"{path}: the points do not lie in a plane z = constant")
    shape = positions[cells[:, NINE], :2] if kinds[0] == "quad9" else np.zeros((0, 0, 2))
    used, corners = np.unique(cells[:, :4], return_inverse=True)
    return Mesh(positions[used, :2], corners.reshape(len(cells), -1), tags, shape)


def _suffix(path: Path) -> str:
    if path.suffix not in FORMATS:
        raise WavesimError(f"{path.name} should end in {', '.join(FORMATS)}")
    return path.suffix
