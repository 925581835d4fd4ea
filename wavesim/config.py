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
from wavesim.learning_config import ForecasterConfig, PruningConfig, TrainingConfig
from wavesim.settings import Config, Count, Positive, Settings, Side, as_toml, parse, read

__all__ = [
    "Config",
    "Count",
    "ForecasterConfig",
    "Positive",
    "PruningConfig",
    "Settings",
    "Side",
    "TrainingConfig",
    "as_toml",
    "load",
    "parse",
    "read",
]

Ratio = Annotated[float, Field(ge=1e-9, le=1e9)]  # to the background's; beyond, single precision fails


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
