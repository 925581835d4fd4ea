"""Settings of the presets of `wavesim generate waves`: what is random in each, and the grid that all of them share.

    cavity    a uniform medium, its own in every trajectory        random    a Gaussian random field of wave speed
    layers    layers of random places and materials                lens      a Luneburg lens of random place and size
    packing   sharp grains of a packings.h5, on meshes that follow them
    packing-smooth    the same grains with smooth interfaces, on a plain grid (`config.WavesConfig`)

Lengths, times and units are those of config.py; pairs of numbers go along x and along y, or from and to.
"""

from __future__ import annotations

import math
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from wavesim.config import (
    Count,
    Domain,
    GrainsConfig,
    Positive,
    Ratio,
    RunConfig,
    Settings,
    Side,
    WavesConfig,
    WaveSettings,
    parse,
    read,
)
from wavesim.errors import WavesimError
from wavesim.mixtures import Mixtures, read_diagram

Cells = Annotated[int, Field(ge=16)]
Range = tuple[Positive, Positive]
Ratios = tuple[Ratio, Ratio]
Sharp = Literal["rigid", "soft", "absorbing"]


class PresetConfig(WaveSettings):
    """What the presets share: each trajectory runs through a medium of its own from a pulse of its own."""

    preset: str
    lengths: Range = Field(default=(1.0, 1.0), description="sides of the domain, along x and along y")
    grid: tuple[Cells, Cells] = Field(default=(128, 128), description="cells of the sampled field along x and along y")
    # 0.01 to 0.05 % off at the last frame, by preset (benchmarks/results/generation.md).
    elements: tuple[Count, Count] = Field(default=(32, 32), description="spectral elements along x and along y")
    frames: Annotated[int, Field(ge=2)] = Field(default=100, description="sampled frames, the initial state included")
    frame_interval: Positive = Field(
        default=0.02, description="time between two frames, in crossings of the background"
    )
    gzip: bool = Field(
        default=True, description="files a fifth smaller; a random window takes 3 ms instead of 0.3 at 128 x 128"
    )
    shard: Count = Field(default=8, description="trajectories in one file, which are stepped together")
    verified: Annotated[int, Field(ge=0)] = Field(
        default=1, description="trajectories of each file run once more, one degree higher, for the truth's own error"
    )

    @property
    def domain(self) -> Domain:
        """The rectangle with its grids."""
        return Domain(self.lengths, (self.grid[1], self.grid[0]), self.elements, self.sides, self.layer)

    @property
    def precision(self) -> Literal["single", "double"]:
        """Single: twice as fast, and its rounding is far below the truth's own error."""
        return "single"

    @model_validator(mode="after")
    def _ranges_rise(self) -> Self:
        for name in ("bulk_moduli", "densities", "layers", "radii"):
            if (pair := getattr(self, name, None)) is not None and pair[0] > pair[1]:
                raise ValueError(f"{name} {pair[0]:g}, {pair[1]:g}: the second must not be below the first")
        return self


class CavityConfig(PresetConfig):
    """Pulses in a uniform medium."""

    preset: Literal["cavity"] = "cavity"
    bulk_moduli: Ratios = Field(
        default=(0.5, 2.0), description="bulk modulus, from and to, drawn evenly in its logarithm"
    )


class LayersConfig(PresetConfig):
    """Pulses in layers one after the other along x."""

    preset: Literal["layers"] = "layers"
    sides: tuple[Side, Side, Side, Side] = Field(
        default=("absorbing", "absorbing", "rigid", "rigid"),
        description="left, right, bottom and top: rigid, soft, periodic or absorbing",
    )
    layers: tuple[Count, Count] = Field(default=(2, 6), description="number of layers, from and to")
    bulk_moduli: Ratios = Field(
        default=(0.5, 4.0), description="bulk modulus of a layer, drawn evenly in its logarithm"
    )
    densities: Ratios = Field(default=(0.7, 1.5), description="density of a layer, drawn evenly in its logarithm")
    interface_width: Positive = Field(
        default=0.02, description="width of the smooth transition between two layers, in domain sides"
    )


class RandomConfig(PresetConfig):
    """Pulses in a smooth random field of wave speed, at uniform density."""

    preset: Literal["random"] = "random"
    correlation_length: Positive = Field(default=0.1, description="of the Gaussian random field, in domain sides")
    # At 4 the moduli span nearly nine decades, and a frame takes 150 times the steps that it takes at 0. Beyond 35,
    # 1/kappa is more than single precision holds.
    contrast: Annotated[float, Field(ge=0, le=4)] = Field(
        default=0.4, description="standard deviation of log bulk modulus"
    )
    limit: Positive = Field(default=2.5, description="where the field is cut off, in standard deviations")


class MixtureConfig(Settings):
    """Granular matter that a lens is made of, by its jamming diagram; the fastest mixture is the background."""

    diagram: str = Field(default="data/diagram.json", description="file of the jamming diagram of spheres")
    size_ratio: Annotated[float, Field(gt=0, le=1)] = Field(default=0.4, description="small over large diameter")
    small_fractions: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = Field(
        default=(0.1, 0.9), description="volume concentration of the small ones, from and to"
    )
    points: tuple[tuple[float, Positive, Positive], ...] = Field(
        default=(),
        validate_default=True,
        description="concentration, K in k_n / d, phi_J; the diagram's where none are given, and then kept here",
    )

    def __str__(self) -> str:
        """For a dataset's card."""
        low, high = self.small_fractions
        return f"mixtures of size ratio {self.size_ratio:g}, X_S {low:g} to {high:g} of {self.diagram}"

    @field_validator("points")
    @classmethod
    def _of_the_diagram(cls, points: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
        known = info.data
        if points or not {"diagram", "size_ratio", "small_fractions"} <= known.keys():
            return points
        try:
            found = Mixtures.between(read_diagram(known["diagram"]), known["size_ratio"], known["small_fractions"])
        except WavesimError as error:
            raise WavesimError(f"[mixture]: {error}") from error
        columns = (found.small_fractions, found.bulk_moduli, found.phi_j)
        return tuple(zip(*(column.tolist() for column in columns), strict=True))


class LensConfig(PresetConfig):
    """Pulses beside and inside a Luneburg lens."""

    preset: Literal["lens"] = "lens"
    sides: tuple[Side, Side, Side, Side] = Field(
        default=("absorbing",) * 4, description="left, right, bottom and top: rigid, soft, periodic or absorbing"
    )
    radii: Range = Field(default=(0.15, 0.3), description="radius of the lens, from and to")
    mixture: MixtureConfig | None = Field(
        default=None,
        description="[mixture]: what lens and background are made of; none: one density and any speed",
    )

    @model_validator(mode="after")
    def _lens_has_room(self) -> Self:
        if self.radii[1] > min(self.lengths) / 2:
            raise ValueError(
                f"radii up to {self.radii[1]:g} do not fit into a domain {min(self.lengths):g} wide; use half of it "
                "or less"
            )
        return self


class ResolvedConfig(GrainsConfig):
    """Waves through sharp grains, on meshes that follow them; bursts of sources are over when the frames begin."""

    preset: Literal["packing"] = "packing"
    # Periodic ones would take vertices that face each other, and grains that go on behind the wall (window.py).
    sides: tuple[Sharp, Sharp, Sharp, Sharp] = Field(
        default=("rigid",) * 4, description="left, right, bottom and top: rigid, soft or absorbing"
    )
    # Touching grains need a gap. It decides where the waves go (docs/truth.md), and the time step.
    radius_scale: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.95, description="the grains' radii are scaled by this, which opens a declared gap at every contact"
    )
    # What sizes and degrees reach, and at what cost: benchmarks/results/packing_cost.md; the meshes of this size and
    # their time steps: packing_meshes.md beside it.
    element_size: Annotated[float, Field(gt=0, le=0.25)] = Field(
        default=0.03, description="edge of an element, in domain sides; shorter in narrow gaps"
    )
    road: Literal["conforming", "raster"] = Field(
        default="conforming",
        description="elements that follow the grains; or equal squares and averages, less exact and without gmsh",
    )
    frequency: Positive = Field(
        default=6.0, description="of the sources' Ricker wavelets, per crossing; they take 3 periods"
    )
    bulk_moduli: Ratios | None = Field(
        default=None, description="from and to, drawn for each packing evenly in the logarithm; none: bulk_modulus"
    )
    densities: Ratios | None = Field(
        default=None, description="from and to, drawn for each packing evenly in the logarithm; none: density"
    )

    @model_validator(mode="after")
    def _ranges_rise(self) -> Self:
        for name in ("bulk_moduli", "densities"):
            if (pair := getattr(self, name)) is not None and pair[0] > pair[1]:
                raise ValueError(f"{name} {pair[0]:g}, {pair[1]:g}: the second must not be below the first")
        return self

    @property
    def domain(self) -> Domain:
        """The unit square."""
        along = math.ceil(1 / self.element_size - 1e-9)
        elements = (along, along) if self.road == "raster" else None
        return Domain((1.0, 1.0), (self.grid, self.grid), elements, self.sides, self.layer)

    @property
    def precision(self) -> Literal["single", "double"]:
        """Single: three times as fast, and its rounding is far below the truth's own error."""
        return "single"


PRESETS: dict[str, type[PresetConfig]] = {
    "cavity": CavityConfig,
    "layers": LayersConfig,
    "random": RandomConfig,
    "lens": LensConfig,
}
GRAINS: dict[str, type[GrainsConfig]] = {"packing": ResolvedConfig, "packing-smooth": WavesConfig}
NAMES = (*PRESETS, *GRAINS)


def dataset_config(name: str | Path) -> PresetConfig | GrainsConfig:
    """The settings of a preset, or of a TOML file that says `preset = NAME`, or has the table `waves` of a whole run.

    Raises:
        WavesimError: neither a preset nor a file; unknown keys; values out of range.
    """
    if str(name) in NAMES:
        return preset_config({"preset": str(name)}, str(name))
    if not str(name).endswith(".toml"):
        raise WavesimError(f"unknown preset '{name}'; presets: {', '.join(NAMES)}; or give a .toml file")
    content = read(name)
    if "preset" in content:
        if "waves" in content:
            raise WavesimError(
                f"{name} has both preset and a table [waves]: a preset's keys stand without a table above them; "
                "remove the line [waves], or preset"
            )
        return preset_config(content, str(name))
    if "waves" not in content:
        near = get_close_matches("waves", content, n=1)
        hint = f"; or did you mean [waves] by [{near[0]}]?" if near else ""
        raise WavesimError(
            f'{name} says no preset and has no table [waves]; add preset = "NAME", one of {", ".join(NAMES)}{hint}'
        )
    parse({table: {} for table in content}, RunConfig, str(name))  # their names; what is in the others is not for here
    return parse(content["waves"], WavesConfig, f"{name}: [waves]")


def preset_config(content: dict[str, Any], source: str) -> PresetConfig | GrainsConfig:
    """Settings from a plain dictionary with the key `preset`; errors as for `config.parse`, with `source` named."""
    preset = content.get("preset")
    if isinstance(preset, str) and preset in GRAINS:
        kind = GRAINS[preset]
        named = "preset" in kind.model_fields
        return parse({key: value for key, value in content.items() if named or key != "preset"}, kind, source)
    if preset not in PRESETS:
        raise WavesimError(f"{source}: unknown preset {preset!r}; presets: {', '.join(NAMES)}")
    return parse(content, PRESETS[preset], source)
