"""How near do the steps come to what the processor can do, from fields in the nearest cache to fields in memory?

A fourth-order step of degree w on a square is bound by the slower of two, each measured by a loop that does nothing
else:

    its loads    vectors of 64 bytes from the nearest cache. For each of a product: 2 w neighbours along the row, which
                 are shifted by single numbers and lie across two lines of the cache; itself; the rows it is coupled to,
                 with a factor each for four vectors; s and d; the 2 w + 1 coefficients along the row where they are not
                 in registers; and half of p and d, for p += d
    its streams  p, d and s read, p and d written, once a step, wherever fields of this size lie

Which is the slower depends on the size. Reference: Stengel, Treibig, Hager, Wellein, Quantifying performance
bottlenecks of stencil computations using the execution-cache-memory model, arXiv 1410.5010 (2015).
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from timing import Turn, timed

from wavesim.compiled import FLAGS
from wavesim.fem import Nodes, _dolfinx, stepper
from wavesim.fem.diagonals import Diagonals, filled
from wavesim.fem.kernel import Grid

DEGREE, LANES = 4, 16
NEAR = 1 << 12  # numbers that surely lie in the nearest cache


def rows(sides: Sequence[int], rounds: int, work: float) -> Iterator[str]:
    """A table of shares for squares of so many unknowns a side; work: unknowns x products of a round."""
    yield "| unknowns | rate, M/s | loads, M/s | streams, M/s | share of the lower |"
    yield "|---|---|---|---|---|"
    shares, loops = [], compiled()
    for side in sides:
        square, n = stretched(side)
        steps = max(75, round(work / (2 * n * n)))
        rate = {
            name: float(np.median(values)) for name, values in timed(turns(square, n, steps, loops), rounds).items()
        }
        aligned, shifted = loads(square)
        of_loads = n / (square.diagonals.along.shape[1] / LANES * (aligned / rate["read"] + shifted / rate["shifted"]))
        shares.append(rate["steps"] / min(of_loads, rate["streams"]))
        cells = (f"{n * n:.1e}", *(f"{value / 1e6:.0f}" for value in (rate["steps"], of_loads, rate["streams"])))
        yield f"| {' | '.join(cells)} | {shares[-1]:.2f} |"
    yield f"\nThe shares differ by a factor of {max(shares) / min(shares):.2f} (aim: less than 1.5).\n"


def turns(square: Grid, n: int, steps: int, loops: ctypes.CDLL) -> dict[str, Turn]:
    """Steps, and what bounds them: vectors from the nearest cache, within its lines and across two, and streams."""
    p, products = np.ones(n * n, np.float32), 2.0 * n * n * steps
    p[::7] = 0.5
    near = filled(np.ones(NEAR + LANES, np.float32), np.dtype(np.float32))
    fields, times = np.full((3, n * n), 1e-3, np.float32), round(products / NEAR) + 1

    def read(shift: int) -> None:
        loops.reads(at(near[shift:]), ctypes.c_long(NEAR), ctypes.c_long(times))

    return {
        "steps": (products, lambda: square.advance(p, 0 * p, steps, 4)),
        "read": (NEAR / LANES * times, lambda: read(0)),
        "shifted": (NEAR / LANES * times, lambda: read(1)),
        "streams": (
            products,
            lambda: loops.streams(*(at(field) for field in fields), ctypes.c_long(n * n), ctypes.c_long(steps)),
        ),
    }


def compiled() -> ctypes.CDLL:
    """roofline.c, as kernel.c is compiled."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "roofline.so"
        subprocess.run(["cc", *FLAGS, "-o", library, Path(__file__).with_suffix(".c")], check=True)
        return ctypes.CDLL(str(library))


def loads(square: Grid) -> tuple[float, float]:
    """Vectors read for one of a product: within a line of the cache, and across two."""
    entries, columns = square.diagonals.along.shape
    begin, end, _ = square._shared
    coupled = float(square.diagonals.coupled.sum(axis=1).mean())
    return 1 + entries * (1 - (end - begin) / columns) + coupled * (1 + 1 / 4) + 2 + 1, entries - 1


def stretched(side: int) -> tuple[Grid, int]:
    """The square of about side x side unknowns whose lines along x are those of a strip, and along y the same.

    By its factors, because dolfinx would need minutes for the largest.
    """
    elements = max(side // DEGREE, 3)
    space = _dolfinx.space(Nodes((elements, 3), DEGREE, (1.0, 3 / elements)))
    stiffness, mass = space.stiffness(np.ones(space.weights.size)), space.mass(np.ones(space.weights.size))
    loops, n = stepper.operator(stiffness, mass, 1.0, dtype=np.float32).loops, DEGREE * elements + 1
    assert isinstance(loops, Grid)
    across = np.ascontiguousarray(loops.diagonals.along[:, :n].T)
    scale = np.full((1, n, n), 0.3 * loops.diagonals.scale.max(), np.float32)
    coupled = (across != 0).astype(np.int8)
    return Grid(Diagonals(loops.diagonals.along, across, coupled, filled(scale, scale.dtype), False)), n


def at(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
