"""Cells of polygons by Gmsh: triangles, joined to quadrilaterals where that is good. Run as a process of its own:

    python -m wavesim.fem._gmsh IN.npz OUT.npz

IN: points (n, 2); lengths (polygons,), sizes (polygons,). OUT: points of all polygons one after the other, each with
its own first; counts (polygons,) of them; cells (m, 4), -1 for the fourth corner of a triangle; owners (m,). Gmsh
stands under the GPL: nothing of it is imported elsewhere.

Reference: Remacle et al., Int. J. Numer. Meth. Engng 89 (2012) 1102-1119.
"""

from __future__ import annotations

import sys

import numpy as np


def main(source: str, target: str) -> None:
    """Mesh every polygon of a file; one that Gmsh cannot mesh gets no cells."""
    import gmsh

    given = np.load(source)
    gmsh.initialize(["gmsh", "-nt", "1"], readConfigFiles=False, interruptible=False)
    gmsh.option.setNumber("General.Terminal", 0)
    gmsh.option.setNumber("Mesh.Algorithm", 8)  # frontal, for quadrilaterals
    gmsh.option.setNumber("Mesh.RecombinationAlgorithm", 1)  # blossom
    gmsh.option.setNumber("Mesh.RandomSeed", 1)
    all_points, counts, all_cells, owners = [], [], [], []
    ends = np.cumsum(given["lengths"])
    for owner, (end, length, size) in enumerate(zip(ends, given["lengths"], given["sizes"], strict=True)):
        polygon = given["points"][end - length : end]
        points, cells = _meshed(gmsh, polygon, float(size))
        all_points.append(points)
        counts.append(len(points))
        all_cells.append(cells)
        owners += [owner] * len(cells)
    gmsh.finalize()
    np.savez(target, points=np.concatenate(all_points), counts=counts, cells=np.concatenate(all_cells), owners=owners)


def _meshed(gmsh: object, polygon: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray]:
    gmsh.clear()  # type: ignore[attr-defined]
    geo, mesh = gmsh.model.geo, gmsh.model.mesh  # type: ignore[attr-defined]
    corners = [geo.addPoint(x, y, 0, size) for x, y in polygon]
    lines = [geo.addLine(a, b) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)]
    surface = geo.addPlaneSurface([geo.addCurveLoop(lines)])
    for line in lines:
        geo.mesh.setTransfiniteCurve(line, 2)
    geo.mesh.setRecombine(2, surface)
    geo.synchronize()
    try:
        mesh.generate(2)
    except Exception:  # its own kind of error: the polygon crosses itself
        return polygon, np.zeros((0, 4), int)
    tags, places, _ = mesh.getNodes()
    order = np.argsort(tags)
    points = places.reshape(-1, 3)[order, :2]
    cells = []
    for kind, _, nodes in zip(*mesh.getElements(2), strict=True):
        found = np.searchsorted(tags[order], nodes).reshape(-1, 4 if kind == 3 else 3)
        cells.append(np.column_stack([found, np.full((len(found), 4 - found.shape[1]), -1)]))
    if not cells or not np.allclose(points[: len(polygon)], polygon):
        return polygon, np.zeros((0, 4), int)
    return points, np.concatenate(cells).astype(int)


if __name__ == "__main__":
    main(*sys.argv[1:])
