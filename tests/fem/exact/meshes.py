"""Meshes of known shape: distorted and warped unit squares, a disk in a square."""

from __future__ import annotations

import numpy as np

from wavesim.fem.mesh import Mesh


def distorted(n, amount=0.2, cells="quadrilaterals"):
    """n x n cells of the unit square, inner corners moved; tag 1 right of the middle line, which is kept."""
    line = np.linspace(0, 1, n + 1)
    points = np.column_stack([part.ravel() for part in np.meshgrid(line, line)])
    moved = np.random.default_rng(0).uniform(-amount / n, amount / n, points.shape)
    inner = (points > 1e-9) & (points < 1 - 1e-9)
    points = points + moved * inner * (np.abs(points[:, :1] - 0.5) > 1e-9)
    corner = np.add.outer(np.arange(n) * (n + 1), np.arange(n)).ravel()
    quads = np.column_stack([corner, corner + 1, corner + n + 2, corner + n + 1])
    if cells == "triangles":
        quads = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    order = np.random.default_rng(1).permutation(len(quads))  # nothing may rest on the order of the cells
    quads = np.roll(quads[order], 1, axis=1)
    return Mesh(points, quads, (points[quads].mean(axis=1)[:, 0] > 0.5).astype(int))


def warped(n, degree=4):
    """n x n curved cells of the unit square: all lines but the sides are bent."""
    line = np.linspace(0, 1, n + 1)
    corner = np.add.outer(np.arange(n) * (n + 1), np.arange(n)).ravel()
    cells = np.column_stack([corner, corner + 1, corner + n + 2, corner + n + 1])
    points = np.column_stack([part.ravel() for part in np.meshgrid(line, line)])
    straight = Mesh(points, cells)

    def bend(xy):
        x, y = np.moveaxis(xy, -1, 0)
        bulge = np.sin(np.pi * x) * np.sin(np.pi * y)
        return np.stack([x + 0.08 * bulge, y - 0.06 * bulge], axis=-1)

    return Mesh(bend(points), cells, shape=bend(straight.positions(degree)))


def round_mesh(n, radius=0.2, side=1.0):
    """A disk (tag 1) of 5 blocks of n x n cells in the middle of a square, and 4 blocks of n x 2n around; straight."""
    corner = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 0.5
    blocks = []
    u = np.linspace(0, 1, n + 1)
    inner = 0.55 * radius * 2 * corner / np.sqrt(2)
    grid = np.stack(np.meshgrid(2 * u - 1, 2 * u - 1), axis=-1)
    blocks.append((grid * np.abs(inner[0, 0]), 1))
    for k in range(4):
        a, b = inner[k], inner[(k + 1) % 4]
        angle = np.arctan2(a[1], a[0]) + u * np.pi / 2
        arc = radius * np.column_stack([np.cos(angle), np.sin(angle)])
        edge, far = (p + u[:, None] * (q - p) for p, q in ((a, b), (side * corner[k], side * corner[(k + 1) % 4])))
        for low, high, count, tag in ((edge, arc, n, 1), (arc, far, 2 * n, 0)):
            v = np.linspace(0, 1, count + 1)[:, None, None]
            blocks.append(((1 - v) * low + v * high, tag))
    return joined(blocks, radius)


def disk_in_square(n, radius=0.2, box=0.3):
    """A disk (tag 1) in the middle of the unit square, evenly meshed; straight.

    n x n cells in a square in the disk, rings around it up to the circle and a box of half side `box`, with n cells
    a side; the rest of the unit square in cells about as long.
    """
    u = np.linspace(0, 1, n + 1)
    corner = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    inner, outer = 0.75 * radius / np.sqrt(2) * corner, box * corner
    blocks = [(np.stack(np.meshgrid(2 * u - 1, 2 * u - 1), axis=-1) * abs(inner[0, 0]), 1)]
    inside, outside = max(1, round(n * 0.3)), max(1, round(n * 0.25))
    for k in range(4):
        angle = np.arctan2(*inner[k][::-1]) + u * np.pi / 2
        arc = radius * np.column_stack([np.cos(angle), np.sin(angle)])
        edge, far = (p[k] + u[:, None] * (p[(k + 1) % 4] - p[k]) for p in (inner, outer))
        for low, high, count, tag in ((edge, arc, inside, 1), (arc, far, outside, 0)):
            v = np.linspace(0, 1, count + 1)[:, None, None]
            blocks.append(((1 - v) * low + v * high, tag))
    margin = max(1, round(n * (0.5 - box) / (2 * box)))
    parts = ((-0.5, -box, margin), (-box, box, n), (box, 0.5, margin))
    lines = [np.linspace(low, high, count + 1) for low, high, count in parts]
    for i, x in enumerate(lines):
        for j, y in enumerate(lines):
            if (i, j) != (1, 1):
                blocks.append((np.stack(np.meshgrid(x, y), axis=-1), 0))
    return joined(blocks, radius)


def joined(blocks, radius):
    """Mesh, circles and circle_of of blocks (rows, columns, 2) with their tags, about (0.5, 0.5)."""
    points, cells, tags = [], [], []
    for block, tag in blocks:
        rows, columns = block.shape[0] - 1, block.shape[1] - 1
        first = sum(len(p) for p in points)
        start = first + np.add.outer(np.arange(rows) * (columns + 1), np.arange(columns)).ravel()
        points.append(block.reshape(-1, 2))
        cells.append(np.column_stack([start, start + 1, start + columns + 2, start + columns + 1]))
        tags.append(np.full(len(start), tag))
    points, cells = np.concatenate(points), np.concatenate(cells)
    _, kept, number = np.unique(np.round(points, 9) + 0.0, axis=0, return_index=True, return_inverse=True)
    mesh = Mesh(points[kept] + 0.5, number.ravel()[cells], np.concatenate(tags))
    on = np.abs(np.hypot(*(mesh.points - 0.5).T) - radius) < 1e-9
    return mesh, np.array([[0.5, 0.5, radius]]), np.where(on, 0, -1)
