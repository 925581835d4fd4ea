"""What each kind of convolution costs, how fast it runs, and how well it learns one frame of waves.

Speed      one layer of 16 channels to 16, alone: forward in torch, forward and back, and forward in ONNX Runtime as
           the layer is and folded; in turns, least and median of the processor's time.
Learning   h = stem(state, medium), three times h += gelu(layer(h) + b), state + head(h); 32 x 32 cells, rigid walls;
           the truth is 8 explicit sub-steps of Courant number 1.5 a frame in random media; Adam, one cycle, mean
           squared error. For each seed the mean over 64 test runs of the relative L2 error after one frame.

    OMP_NUM_THREADS=1 python benchmarks/layers.py [--quick] [--out benchmarks/results/layers.md]
"""

from __future__ import annotations

import argparse
import io
import logging
import math
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn
from torch.nn import functional as F

from wavesim.surrogate.coarse import CoarseStep
from wavesim.surrogate.layers import KINDS, CPConvolution, make_conv

CHANNELS, CELLS = 16, 32
EXPLICIT = "cp, lambda explicit"


class ExplicitRankWeights(nn.Module):
    """The same layer with lambda as parameters of their own, times factors scaled to unit norm in each call."""

    def __init__(self, layer: CPConvolution):
        super().__init__()
        self.layer, self.rank_weights = layer, nn.Parameter(layer.rank_weights().detach().float())

    def forward(self, field: torch.Tensor) -> torch.Tensor:
        norms = self.layer.rank_weights()
        scale = (self.rank_weights / norms).float().reshape(1, -1, 1, 1)
        weights = dict(self.layer.named_parameters())
        return torch.func.functional_call(self.layer, {**weights, "outward": weights["outward"] * scale}, (field,))


def layer_of(kind: str, channels_in: int, taps: int, rank: int) -> nn.Module:
    """A layer to CHANNELS channels; depthwise after a 1 x 1 convolution where the channels change."""
    if kind == EXPLICIT:
        layer = make_conv("cp", channels_in, CHANNELS, taps, rank=rank)
        assert isinstance(layer, CPConvolution)
        return ExplicitRankWeights(layer)
    if kind == "depthwise" and channels_in != CHANNELS:
        return make_conv("separable", channels_in, CHANNELS, taps)
    return make_conv(kind, channels_in, CHANNELS, taps, rank=rank)


class Learner(nn.Module):
    """(state, medium) -> state, each (batch, 2, y, x)."""

    def __init__(self, kind: str, taps: int, rank: int, depth: int = 3):
        super().__init__()
        self.stem = layer_of(kind, 4, taps, rank)
        self.layers = nn.ModuleList(layer_of(kind, CHANNELS, taps, rank) for _ in range(depth))
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(CHANNELS, 1, 1)) for _ in range(depth))
        self.head = nn.Conv2d(CHANNELS, 2, 1)
        nn.init.zeros_(self.head.weight)

    def forward(self, state: torch.Tensor, medium: torch.Tensor) -> torch.Tensor:
        hidden = self.stem(torch.cat((state, medium.log()), dim=1))
        for layer, bias in zip(self.layers, self.biases, strict=True):
            hidden = hidden + F.gelu(layer(hidden) + bias)
        return state + self.head(hidden)


def smooth(count: int, random: torch.Generator) -> torch.Tensor:
    """Random fields (count, y, x) of unit variance, white noise blurred by a Gaussian of two cells."""
    squared = torch.fft.fftfreq(CELLS) ** 2
    blur = torch.exp(-2 * (2 * math.pi) ** 2 * (squared[:, None] + squared))
    noise = torch.randn(count, CELLS, CELLS, generator=random)
    field = torch.fft.ifft2(torch.fft.fft2(noise) * blur).real
    return field / field.std()


@torch.no_grad()
def waves(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """States, media and the states one frame later, each (count, 2, y, x)."""
    random, step = torch.Generator().manual_seed(seed), CoarseStep(1.5, 8)
    kappa, rho = (torch.exp(0.4 * smooth(count, random)).clamp(0.5, 2) for _ in range(2))
    medium = torch.stack((kappa, rho), dim=1)
    state = torch.stack((smooth(count, random), 0.5 * smooth(count, random)), dim=1)
    return state, medium, step(state, step.stencil(medium))


def learned(kind: str, taps: int, rank: int, seed: int, iterations: int) -> tuple[float, int, float]:
    """Test error, number of parameters, and seconds."""
    torch.manual_seed(seed)
    model, random = Learner(kind, taps, rank), torch.Generator().manual_seed(seed)
    state, medium, after = waves(256, 1)
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, iterations)
    begin = time.process_time()
    for _ in range(iterations):
        rows = torch.randint(len(state), (8,), generator=random)
        optimiser.zero_grad()
        F.mse_loss(model(state[rows], medium[rows]), after[rows]).backward()
        optimiser.step()
        schedule.step()
    seconds = time.process_time() - begin
    state, medium, after = waves(64, 2)
    with torch.no_grad():
        error = (model(state, medium) - after).flatten(1).norm(dim=1) / after.flatten(1).norm(dim=1)
    return error.mean().item(), sum(p.numel() for p in model.parameters()), seconds


def in_onnx_runtime(layer: nn.Module, field: torch.Tensor) -> Callable[[], object]:
    """A call of the layer in ONNX Runtime on one thread."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.no_grad():  # filter after filter
            program = torch.onnx.export(layer.eval(), (field,), dynamo=True, verbose=False)
        assert program is not None
        program.save(buffer)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(buffer.getvalue(), options, providers=["CPUExecutionProvider"])
    name, values = session.get_inputs()[0].name, field.numpy()
    return lambda: session.run(None, {name: values})


def speeds(kinds: list[str], grid: tuple[int, ...], taps: int, rank: int, rounds: int) -> list[str]:
    """A row for each kind."""
    torch.manual_seed(0)
    field = torch.randn(1, CHANNELS, *grid)
    made = {kind: make_conv(kind, CHANNELS, CHANNELS, taps, dim=len(grid), rank=rank) for kind in kinds}
    calls: dict[tuple[str, str], Callable[[], object]] = {}
    for kind, layer in made.items():
        calls[kind, "forward"] = torch.no_grad()(lambda layer=layer: layer(field))
        calls[kind, "forward and back"] = lambda layer=layer: layer(field).square().sum().backward()
        calls[kind, "as it is"] = in_onnx_runtime(layer, field)
        calls[kind, "folded"] = in_onnx_runtime(layer.fold(), field)
    taken: dict[tuple[str, str], list[float]] = {call: [] for call in calls}
    for turn in range(rounds + 1):
        for call, run in calls.items():
            run()  # with the caches as the call before has left them
            begin = time.process_time()
            for _ in range(3):
                run()
            if turn:  # the first one warms up
                taken[call].append((time.process_time() - begin) / 3 * 1e3)
    rows = []
    for kind, layer in made.items():
        times = [taken[kind, way] for way in ("forward", "forward and back", "as it is", "folded")]
        cells = " | ".join(f"{min(t):.2f} {np.median(t):.2f}" for t in times)
        rows.append(f"| {kind} | {layer.weights():,} | {layer.macs(grid) / 1e6:.2f} | {cells} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two kinds, small sizes: shows that it runs")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/layers.md"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    kinds = ["classical", "cp"] if given.quick else list(KINDS)
    cases = [((64, 64), 5, 32), ((64, 64), 5, 8), ((8, 32, 32), 3, 16)]
    if given.quick:
        cases = [((8, 8), 3, 4), ((2, 4, 4), 3, 4)]
    rounds, iterations, seeds = (2, 2, 2) if given.quick else (15, 600, 3)
    lines = [
        f"{platform.machine()}, {time.strftime('%Y-%m-%d')}, torch {torch.__version__}, ONNX Runtime "
        f"{onnxruntime.__version__}, one thread, float32, batch 1; milliseconds of the processor, least and median of "
        f"{rounds} turns"
    ]
    header = "| kind | weights | million MACs | torch | torch, and back | ONNX Runtime, as it is | folded |"
    for grid, taps, rank in cases:
        size = " x ".join(str(cells) for cells in grid)
        lines += [
            "",
            f"{CHANNELS} channels to {CHANNELS}, {taps} taps an axis, rank {rank}, {size} cells, rigid walls:",
        ]
        lines += ["", header, "|---" * 7 + "|", *speeds(kinds, grid, taps, rank, rounds)]
    lines += [
        "",
        f"Learning one frame in {iterations} iterations, {CHANNELS} channels, 5 taps, rank 8, seeds 0 to {seeds - 1}:",
    ]
    lines += ["", "| kind | weights of the network | relative L2 error | mean | seconds |", "|---" * 5 + "|"]
    for kind in [*kinds, EXPLICIT]:
        errors, counts, seconds = zip(*(learned(kind, 5, 8, seed, iterations) for seed in range(seeds)), strict=True)
        each = " ".join(f"{error:.3f}" for error in errors)
        lines.append(f"| {kind} | {counts[0]:,} | {each} | {np.mean(errors):.3f} | {min(seconds):.1f} |")
    given.out.write_text("\n".join(lines) + "\n")
    print(given.out.read_text())


if __name__ == "__main__":
    main()
