"""What makes a training step fast: dense kernels for high ranks, slices, the order in memory, half precision.

layers         forward and back through filter after filter, and through the dense kernel that they make up
coarse step    two frames forward and back, differences by slices, by a convolution with four kernels, and in loops in C
convolution    forward and back, channels apart and side by side in memory, in single and half precision
continuation   beyond the edges, forward and back, axis by axis and in one operation
whole          unrolls of four frames of forecasters of the study, in single and half precision
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
from unittest.mock import patch

import torch
from apriori_arms import Arm, gated
from torch.nn import functional as F

from wavesim.surrogate import Forecaster, step_gradients
from wavesim.surrogate.coarse import FACES, CoarseStep, Substeps
from wavesim.surrogate.layers import continued, convolution, make_conv
from wavesim.surrogate.layers.padding import by_axis, continued_all
from wavesim.surrogate.sides import around
from wavesim.surrogate.train import keep_freed_memory
from wavesim.turns import in_turns

OUT = Path(__file__).parent / "results" / "training_step.md"
LAYERS = ((16, 5, 8), (16, 5, 16), (16, 5, 24), (16, 5, 32), (16, 3, 16), (16, 7, 16), (16, 7, 32), (32, 5, 16))
GRIDS = (64, 128)
BATCH, SUBSTEPS, FRAMES = 4, 8, 4
PRECISIONS = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
ORDERS = {"apart": torch.contiguous_format, "side by side": torch.channels_last}
FORECASTERS = {
    "classical": gated("classical"),
    "one-way, rank 32": gated("one-way"),
    "one-way, rank 8": gated("one-way", rank=8),
}
Works = dict[tuple[object, ...], Callable[[], None]]


class BySlices(CoarseStep):
    """The same step in torch."""

    def forward(self, state: torch.Tensor, stencil: torch.Tensor, substeps: Substeps | None = None) -> torch.Tensor:
        with patch.object(step_gradients, "able", return_value=False):
            return super().forward(state, stencil, substeps)


class ByConvolution(BySlices):
    """The same, with the differences to the four neighbours as one convolution."""

    def strain(self, pressure: torch.Tensor) -> tuple[torch.Tensor, ...]:
        kernel = torch.zeros(4, 1, 3, 3)
        kernel[:, 0, 1, 1] = -1
        for face, (_, (y, x)) in enumerate(FACES):
            kernel[face, 0, y, x] = 1
        return F.conv2d(around(pressure, 1, self.beyond), kernel).split(1, dim=1)


WAYS = {"convolution": ByConvolution, "slices": BySlices, "loops": CoarseStep}


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
        for way, kind in WAYS.items():
            step = kind(1.0, SUBSTEPS)
            stencil = step.stencil(medium)

            def work(step: CoarseStep = step, stencil: torch.Tensor = stencil, state: torch.Tensor = state) -> None:
                step(step(state, stencil), stencil).square().sum().backward()

            works["coarse", grid, way] = work
    return works


def convolutions(grid: int) -> Works:
    works: Works = {}
    for precision in PRECISIONS:
        for order, layout in ORDERS.items():
            field, kernel = torch.randn(BATCH, 16, grid + 4, grid + 4), torch.randn(16, 16, 5, 5)
            field, kernel = (one.to(precision).contiguous(memory_format=layout) for one in (field, kernel))
            for one in (field, kernel):
                one.requires_grad_()

            def work(field: torch.Tensor = field, kernel: torch.Tensor = kernel) -> None:
                made = F.conv2d(field, kernel)
                made.backward(made.detach())

            works["convolution", precision, order] = work
    return works


def continuations(grid: int) -> Works:
    field = torch.randn(BATCH, 16, grid, grid).contiguous(memory_format=torch.channels_last).requires_grad_()
    sides = by_axis("mirror", 2)

    def by_axes() -> None:
        made = continued(continued(field, 2, -2), 2, -1)
        made.backward(made.detach())

    def at_once() -> None:
        made = continued_all(field, (2, 2), sides)
        made.backward(made.detach())

    return {("continuation", "axis by axis"): by_axes, ("continuation", "at once"): at_once}


def wholes(grid: int) -> Works:
    works: Works = {}
    states, media = torch.randn(BATCH, 2, grid, grid), 1 + torch.rand(BATCH, 2, grid, grid)
    for name, changes in FORECASTERS.items():
        model = Forecaster(Arm("main", name, changes).forecaster(), 1.0)
        torch.nn.init.normal_(model.learned.head.weight, std=0.01)
        for precision in PRECISIONS:

            def work(model: Forecaster = model, half: bool = precision == torch.bfloat16) -> None:
                with torch.autocast("cpu", torch.bfloat16, enabled=half):
                    frames = model.frames(states, model.encode(media))
                    loss = torch.stack([next(frames).square().mean() for _ in range(FRAMES)]).sum()
                loss.backward()

            works["whole", name, precision] = work
    return works


def compared(name: str, first: tuple[float, float], second: tuple[float, float]) -> str:
    """A line of a table: both times, and the second over the first."""
    cells = [f"{least:.1f} ({median:.1f})" for least, median in (first, second)]
    return f"| {name} | {' | '.join(cells)} | {second[0] / first[0]:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small and few: shows that it runs")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_freed_memory()
    chosen, grids = (LAYERS[:1], (16,)) if given.quick else (LAYERS, GRIDS)
    made = layers(chosen, grids[0]) | coarse_steps(grids) | convolutions(grids[0]) | continuations(grids[0])
    made |= wholes(grids[0])
    works = {key: (work, 1) for key, work in made.items()}
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
    lines += [f"| cells | {' | '.join(WAYS)} | loops / slices |", "|" + "---:|" * 5]
    for grid in grids:
        each = [taken["coarse", grid, way] for way in WAYS]
        cells = " | ".join(f"{least:.1f} ({median:.1f})" for least, median in each)
        lines.append(f"| {grid} x {grid} | {cells} | {each[2][0] / each[1][0]:.2f} |")
    lines += [
        "",
        f"A classical convolution of 16 channels and 5 taps, {grids[0]} x {grids[0]}, channels in memory:",
        "",
    ]
    lines += ["| precision | apart | side by side | ratio |", "|" + "---:|" * 4]
    for precision, name in PRECISIONS.items():
        lines.append(compared(name, *[taken["convolution", precision, order] for order in ORDERS]))
    lines += ["", "Two more cells on all sides of 16 channels:", ""]
    lines += ["| | axis by axis | at once | ratio |", "|" + "---:|" * 4]
    lines.append(compared("mirror", *[taken["continuation", way] for way in ("axis by axis", "at once")]))
    lines += ["", f"Unrolls of {FRAMES} frames:", "", "| forecaster | float32 | bfloat16 | ratio |", "|" + "---:|" * 4]
    for name in FORECASTERS:
        lines.append(compared(name, *[taken["whole", name, precision] for precision in PRECISIONS]))
    given.out.write_text("\n".join(lines) + "\n")
    print(given.out.read_text())


if __name__ == "__main__":
    main()
