"""Every setting of the pipeline, one frozen model a stage, with its default and its unit.

Lengths are in units of the domain's side, times in units of its crossing at the background's wave speed, bulk
modulus and density in units of the background's. Settings come from TOML (`load`), are echoed whole into every
artefact (`.model_dump()`), and an unknown key is refused with the nearest valid one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from wavesim.devices import NAME
from wavesim.settings import Config, Settings, as_toml, parse, read

__all__ = ["Config", "Settings", "as_toml", "load", "parse", "read"]

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Ratio = Annotated[float, Field(ge=1e-9, le=1e9)]  # to the background's; beyond, single precision fails
Side = Literal["rigid", "soft", "periodic", "absorbing"]


class PackingsConfig(Settings):
    """Bidisperse disks, jammed by LAMMPS in a periodic box."""

    size_ratios: tuple[Annotated[float, Field(ge=0.1, le=1)], ...] = Field(
        default=(1 / 1.4, 1 / 3),
        min_length=1,
        description="small diameter over large diameter, one group of packings each",
    )
    per_ratio: Count = Field(default=24, description="packings of each size ratio")
    particles: Annotated[int, Field(ge=16)] = Field(default=64, description="particles in one packing")
    small_fraction: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="area concentration of the small particles; none: as many small as large ones"
    )


@dataclass(frozen=True)
class Domain:
    """The rectangle that waves run in. lengths: (Lx, Ly); cells: (y, x) of the sampled grid; elements: (nx, ny) of its
    own mesh, or none; sides: left, right, bottom, top; layer: elements of an absorbing side."""

    lengths: tuple[float, float]
    cells: tuple[int, int]
    elements: tuple[int, int] | None
    sides: tuple[Side, Side, Side, Side]
    layer: int


class WaveSettings(Settings):
    """What every dataset of waves has: times, the pulse, sides, and the spectral elements that compute the truth."""

    frames: Annotated[int, Field(ge=2)] = Field(default=65, description="sampled frames, the initial state included")
    frame_interval: Positive = Field(
        default=1 / 32, description="time between two frames, in crossings of the background"
    )
    pulse_width: Positive = Field(default=0.05, description="standard deviation of the Gaussian pulse, in domain sides")
    sides: tuple[Side, Side, Side, Side] = Field(
        default=("rigid",) * 4, description="left, right, bottom and top: rigid, soft, periodic or absorbing"
    )
    layer: Count = Field(default=8, description="spectral elements of the layer beyond an absorbing side")
    degree: Annotated[int, Field(ge=1, le=8)] = Field(default=4, description="polynomial degree of the elements")
    time_order: Literal[2, 4] = Field(
        default=4, description="order of the time stepper: leapfrog, or modified equation"
    )
    device: Annotated[str, Field(pattern=rf"^({NAME})$")] | None = Field(
        default=None,
        description="of torch (cpu, cuda, cuda:0, mps) that steps; none: this processor, by compiled loops",
    )
    valid_share: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        default=0.125, description="share of the files kept for validation"
    )
    test_share: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        default=0.125, description="share of the files kept for the test"
    )

    gzip: bool = Field(
        # Gzip 1 with shuffle, which every reader of HDF5 has (benchmarks/results/dataset_codecs.md).
        default=False,
        description="files a fifth smaller; a random window takes 3 ms instead of 0.3 at 128 x 128",
    )

    @property
    def domain(self) -> Domain:
        """The rectangle with its grids."""
        raise NotImplementedError

    @property
    def precision(self) -> Literal["single", "double"]:
        """Of the time steps."""
        return "double"

    @model_validator(mode="after")
    def _pulse_has_room(self) -> Self:
        room = min(self.domain.lengths) / 6
        if self.pulse_width >= room:
            least = "1/6" if room == 1 / 6 else f"{room:.3g}"
            raise ValueError(
                f"pulse_width {self.pulse_width} leaves no place three widths from the walls; use one below {least}"
            )
        return self

    @model_validator(mode="after")
    def _periodic_in_pairs(self) -> Self:
        left, right, bottom, top = (side == "periodic" for side in self.sides)
        if left != right or bottom != top:
            raise ValueError(f"sides {', '.join(self.sides)}: opposite sides are periodic together, or neither is")
        return self


class GrainsConfig(WaveSettings):
    """Waves through packings: what their datasets have in common."""

    grid: Annotated[int, Field(ge=16)] = Field(default=64, description="cells along each side of the sampled field")
    pulses: Count = Field(default=4, description="simulations through each packing")
    bulk_modulus: Ratio = Field(default=20.0, description="bulk modulus of the grains over that of the background")
    density: Ratio = Field(default=5.0, description="density of the grains over that of the background")
    verified: Annotated[int, Field(ge=0)] = Field(
        default=2, description="test trajectories run once more, one degree higher, for the truth's own error"
    )


class WavesConfig(GrainsConfig):
    """Waves through packings with smooth interfaces: each has a cut of its packing and a pulse of its own."""

    radius_scale: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.9, description="the grains' radii are scaled by this, which opens a declared gap at every contact"
    )
    interface_width: Positive = Field(
        default=0.012, description="width of the smooth transition between grain and background, in domain sides"
    )
    # Pressure after one crossing, degree 4: 48 elements 1.3 % off, 56 0.9 %, 64 0.5 %, for 1 : 1.6 : 2.4 of the time
    # (benchmarks/results/truth_convergence.md).
    elements: Count = Field(default=48, description="spectral elements along each side")

    @property
    def domain(self) -> Domain:
        """The unit square."""
        return Domain((1.0, 1.0), (self.grid, self.grid), (self.elements, self.elements), self.sides, self.layer)


class ForecasterConfig(Settings):
    """A coarse explicit step, corrected by a network that has seen the medium."""

    network: Literal["gated", "unet", "space-time", "classic-unet", "convnext-unet", "fno", "tfno"] = Field(
        default="gated",
        description="gated, unet and space-time, which filters the frames of a bundle along time too, have filters of "
        "one family; the others are references, published networks",
    )
    convolution: Literal[
        "classical", "one-way", "separable", "cp-series", "flattened", "chain", "sum", "tensor-train"
    ] = Field(default="one-way", description="family of every filter of gated, unet and space-time")
    width: Count = Field(
        default=16, description="channels of the hidden fields on the finest grid (multiples of 8 run fastest)"
    )
    kernel_size: Annotated[int, Field(ge=3)] = Field(default=5, description="taps of a filter along each axis; odd")
    ranks: tuple[Count, ...] = Field(
        default=(32, 32, 32, 32),
        description="rank of each one-way layer, or of all on a level of unet; their number is the depth of every "
        "network (none: the coarse step alone)",
    )
    blocks: Count = Field(default=1, description="filters of unet, or blocks of convnext-unet, on a level each way")
    modes: Count = Field(default=16, description="Fourier modes along each axis that fno and tfno keep")
    activation: Literal["none", "gelu"] = Field(
        default="none", description="of unet before each filter; none: linear in the state, as gated is"
    )
    encoder_width: Count = Field(default=16, description="channels of the encoder that turns the medium into gates")
    encoder_ranks: tuple[Count, Count] = Field(default=(4, 8), description="ranks of the encoder's two one-way layers")
    substeps: Annotated[int, Field(ge=0)] = Field(
        default=6, description="coarse explicit steps a frame; 0: the network alone"
    )
    bundle: Count = Field(default=1, description="frames forecast in one call")
    conserve_energy: bool = Field(
        default=True, description="scale the state back whenever it exceeds its energy budget"
    )
    sides: tuple[Side, Side, Side, Side] = Field(
        default=("rigid",) * 4, description="left, right, bottom and top; training takes them from its data"
    )

    @property
    def kind(self) -> str:
        """In a word or two: the family of filters where there is one, and the network where it is not the usual one."""
        words = {"gated": self.convolution} | {name: f"{self.convolution} {name}" for name in ("unet", "space-time")}
        return words.get(self.network, self.network)

    @model_validator(mode="after")
    def _odd_kernel(self) -> ForecasterConfig:
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size {self.kernel_size} is even; a centred filter has an odd number of taps")
        return self

    @model_validator(mode="after")
    def _as_many_frames(self) -> ForecasterConfig:
        reach = self.kernel_size // 2
        if self.network == "space-time" and self.bundle + 1 < reach:
            raise ValueError(
                f"kernel_size {self.kernel_size} reaches over {reach} frames, and network space-time has those of a "
                f"bundle of {self.bundle} and the state; take bundle {reach - 1} or more"
            )
        return self

    @model_validator(mode="after")
    def _something_moves(self) -> ForecasterConfig:
        if not self.ranks and self.substeps == 0:
            raise ValueError("ranks is empty and substeps is 0, which forecasts nothing; give ranks, substeps, or both")
        return self


class TrainingConfig(Settings):
    """Unrolled training: the loss runs over ever longer rollouts."""

    unrolls: tuple[Count, ...] = Field(
        default=(1, 2, 4, 8), min_length=1, description="frames of the rollouts, stage by stage"
    )
    shares: tuple[Positive, ...] = Field(
        default=(0.2, 0.2, 0.25, 0.35), description="share of the iterations for each stage"
    )
    iterations: Count = Field(default=1200, description="optimiser steps")
    batch: Count = Field(default=4, description="windows a step")
    learning_rate: Positive = Field(default=5e-3, description="peak of the one-cycle schedule (Adam)")
    gradient_clip: Positive = Field(default=1.0, description="largest gradient norm")
    loss_frames: Count | None = Field(
        default=None,
        description="last frames of a rollout that the loss runs over, those before being run without gradients "
        "(pushforward); none: all",
    )
    noise: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="standard deviation of the noise on a rollout's first state, over that state's own rms"
    )
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0,
        description="decay a step of the running mean of the weights that is validated and kept; 0: the weights "
        "themselves",
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        default=0.0,
        description="times the sum of squares of the filters' dense kernels, the products of one-way factors, is added "
        "to the loss",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="of the network's convolutions while it trains"
    )
    validate_every: Count = Field(default=100, description="optimiser steps between two validations")

    @model_validator(mode="after")
    def _stages(self) -> TrainingConfig:
        if len(self.unrolls) != len(self.shares):
            raise ValueError(
                f"{len(self.unrolls)} unrolls but {len(self.shares)} shares: give one share for each unroll"
            )
        return self


class PruningConfig(Settings):
    """Pruning in rounds; the defaults are those of structured SAP (SAP is arXiv 2302.05601, whose own eta is 0)."""

    method: Literal[
        "sap",
        "structured-sap",
        "lottery-ticket",
        "one-shot",
        "one-shot-dense",
        "autosparse",
        "autosparse-shuffled",
        "random",
        "granet",
        "granet-st",
        "greg-1",
        "greg-2",
        "structured-greg",
        "espn",
    ] = Field(default="structured-sap", description="how it is decided what goes")
    scope: Literal["global", "layer", "neuron"] = Field(default="layer", description="within what scores are compared")
    density: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="share that is left of what is scored; none: as the method's rounds come to"
    )
    share: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.2, description="share removed in one round, where no density is given and no index decides"
    )
    p: Positive = Field(default=0.5, description="exponent p of the PQ index")
    q: Positive = Field(default=1.0, description="exponent q of the PQ index, above p")
    eta: Annotated[float, Field(ge=0)] = Field(
        # Norms of whole ranks differ little (index 0.02): without slack the bound keeps all of them.
        default=0.1,
        description="slack of the bound on the removed mass",
    )
    gamma: Positive = Field(default=1.0, description="scale of the share to remove by the index")
    beta: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.9, description="largest share removed in one round by the index"
    )
    rounds: Annotated[int, Field(ge=1, le=255)] | None = Field(  # lifetimes, in rounds, are kept as bytes
        default=None, description="of pruning and retraining; none: the method's own"
    )
    iterations: Count = Field(default=250, description="optimiser steps of each training")
    restart: Literal["rewind", "fine-tune"] = Field(
        default="fine-tune", description="retrain from earlier weights, or go on"
    )
    rewind_to: Annotated[int, Field(ge=0)] = Field(
        default=0, description="optimiser steps of the first training after which rewound weights are taken"
    )
    like: Path | None = Field(
        default=None, description="a pruned model whose counts in each tensor a random cut takes, round by round"
    )
    regressor: Path | None = Field(
        default=None, description="what `wavesim learn-pruning` made: autosparse scores weights by it"
    )
    multiple: Count = Field(
        default=8,
        description="widths and ranks that remain are rounded up to a multiple of this; no tensor keeps fewer weights",
    )

    @model_validator(mode="after")
    def _exponents(self) -> PruningConfig:
        if not self.p < self.q:
            raise ValueError(f"p {self.p} must be below q {self.q} for a PQ index")
        return self


class RunConfig(Settings):
    """All of it: one TOML file, one table a stage."""

    packings: PackingsConfig = PackingsConfig()
    waves: WavesConfig = WavesConfig()
    forecaster: ForecasterConfig = ForecasterConfig()
    training: TrainingConfig = TrainingConfig()
    pruning: PruningConfig = PruningConfig()

    @model_validator(mode="after")
    def _stages_fit_each_other(self) -> RunConfig:
        waves, forecaster, longest = self.waves, self.forecaster, max(self.training.unrolls)
        if self.packings.per_ratio < 3:
            raise ValueError(
                f"packings.per_ratio {self.packings.per_ratio} leaves a split without a packing; train, valid and test "
                "each need their own: use 3 or more"
            )
        if longest >= waves.frames:
            raise ValueError(
                f"training.unrolls of up to {longest} frames take at least {longest + 1} frames, and waves.frames is "
                f"{waves.frames}; raise frames, or shorten the unrolls"
            )
        # Gershgorin's bound in a grain that fills a cell and its neighbours, as in CoarseStep.check.
        wave_speed = max(1.0, math.sqrt(waves.bulk_modulus / waves.density))
        cells = waves.frame_interval * waves.grid * wave_speed
        needed = math.floor(math.sqrt(2) * cells) + 1
        if 0 < forecaster.substeps < needed:
            raise ValueError(
                f"forecaster.substeps {forecaster.substeps} is unstable where a wave crosses {cells:.3g} cells a frame "
                f"(frame_interval * grid * wave speed); it takes at least {needed}, or 0 for the network alone, or a "
                "shorter waves.frame_interval"
            )
        if self.pruning.method.startswith("structured-") and self.pruning.scope != "layer":
            raise ValueError(
                f"pruning.scope '{self.pruning.scope}' means nothing to {self.pruning.method}; set scope = 'layer', or "
                "method = 'sap'"
            )
        return self


def load(path: str | Path, kind: type[Config] = RunConfig) -> Config:  # type: ignore[assignment]
    """Read settings from a TOML file; what it does not name keeps its default.

    Raises:
        WavesimError: no such file, not TOML, an unknown key (the nearest valid one is named), a value out of range.
    """
    return parse(read(path), kind, str(path))
