"""Two choices that halve a training step: dense kernels for layers of high rank, and slices for the coarse step.

layers         forward and back through filter after filter, and through the dense kernel that they make up
coarse step    two frames forward and back, differences by slices, and by a convolution with four kernels
Milliseconds of the processor, the least and the median of turns, batch 4, one thread. It writes
results/training_step.md.

    OMP_NUM_THREADS=1 python benchmarks/training_step.py [--quick] [--out benchmarks/results/training_step.md]
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional as F

from wavesim.surrogate.coarse import FACES, CoarseStep
from wavesim.surrogate.layers import convolution, make_conv
from wavesim.surrogate.sides import around
from wavesim.surrogate.train import keep_freed_memory
from wavesim.turns import in_turns

OUT = Path(__file__).parent / "results" / "training_step.md"
LAYERS = ((16, 5, 8), (16, 5, 16), (16, 5, 24), (16, 5, 32), (16, 3, 16), (16, 7, 16), (16, 7, 32), (32, 5, 16))
GRIDS = (64, 128)
BATCH, SUBSTEPS = 4, 8
Works = dict[tuple[object, ...], Callable[[], None]]


class ByConvolution(CoarseStep):
    """The same step, with the differences to the four neighbours as one convolution."""

    def strain(self, pressure: torch.Tensor) -> tuple[torch.Tensor, ...]:
        kernel = torch.zeros(4, 1, 3, 3)
        kernel[:, 0, 1, 1] = -1
        for face, (_, (y, x)) in enumerate(FACES):
            kernel[face, 0, y, x] = 1
        return F.conv2d(around(pressure, 1, self.beyond), kernel).split(1, dim=1)


def layers(chosen: tuple[tuple[int, int, int], ...], grid: int) -> Works:
    works: Works = {}
    for channels, taps, rank in chosen:
        layer = make_conv("cp", channels, channels, taps, rank=rank)
        field = torch.randn(BATCH, channels, grid, grid, requires_grad=True)
        for way, limit in (("filters", 0.0), ("dense", float("inf"))):

            def work(layer: torch.nn.Module = layer, field: torch.Tensor = field, limit: float = limit) -> None:
                usual, convolution.DENSE_PAYS = convolution.DENSE_PAYS, limit
                layer(field).sum().backward()
                convolution.DENSE_PAYS = usual

            works["layer", channels, taps, rank, way] = work
    return works


def coarse_steps(grids: tuple[int, ...]) -> Works:
    works: Works = {}
    for grid in grids:
        state = torch.randn(BATCH, 2, grid, grid, requires_grad=True)
        medium = 1 + torch.rand(BATCH, 2, grid, grid)
        for way, kind in (("convolution", ByConvolution), ("slices", CoarseStep)):
            step = kind(1.0, SUBSTEPS)
            stencil = step.stencil(medium)

            def work(step: CoarseStep = step, stencil: torch.Tensor = stencil, state: torch.Tensor = state) -> None:
                step(step(state, stencil), stencil).square().sum().backward()

            works["coarse", grid, way] = work
    return works


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small and few: shows that it runs")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_freed_memory()
    chosen, grids = (LAYERS[:1], (16,)) if given.quick else (LAYERS, GRIDS)
    works = {key: (work, 1) for key, work in (layers(chosen, grids[0]) | coarse_steps(grids)).items()}
    taken = in_turns(works, 2 if given.quick else 15, burst=2, clock=time.process_time)
    lines = [
        f"{platform.machine()}, {time.strftime('%Y-%m-%d')}, torch {torch.__version__}, one thread, batch {BATCH}; "
        "milliseconds of the processor, forward and back, least (median) of turns.",
        "",
        f"Layers (cp) on {grids[0]} x {grids[0]} cells; ratio: products of the dense kernel over those of the filters; "
        f"training takes the dense one below {convolution.DENSE_PAYS}.",
        "",
        "| channels | taps | rank | ratio | filters | dense | dense / filters |",
        "|" + "---:|" * 7,
    ]
    for channels, taps, rank in chosen:
        ways = [taken["layer", channels, taps, rank, way] for way in ("filters", "dense")]
        ratio = channels**2 * taps**2 / (2 * rank * (channels + taps))
        cells = [f"{one[0]:.1f} ({one[1]:.1f})" for one in ways]
        lines.append(
            f"| {channels} | {taps} | {rank} | {ratio:.1f} | {' | '.join(cells)} | {ways[1][0] / ways[0][0]:.2f} |"
        )
    lines += ["", f"Two frames of the coarse step, {SUBSTEPS} sub-steps each:", ""]
    lines += ["| cells | convolution | slices | slices / convolution |", "|" + "---:|" * 4]
    for grid in grids:
        ways = [taken["coarse", grid, way] for way in ("convolution", "slices")]
        cells = [f"{one[0]:.1f} ({one[1]:.1f})" for one in ways]
        lines.append(f"| {grid} x {grid} | {' | '.join(cells)} | {ways[1][0] / ways[0][0]:.2f} |")
    given.out.write_text("\n".join(lines) + "\n")
    print(given.out.read_text())


if __name__ == "__main__":
    main()
