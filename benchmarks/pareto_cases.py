"""What pareto.py races on: scenarios, and of each a few media with the bursts that run through them.

The first three are preset `packing` at its contrasts; the others change one thing each. Packings that are given are
taken from the test split: those that no training with the same packings and seed has seen. Where grains of another kind
are asked for, they are made on the fly, and no training has seen any. Lengths and times are
in sides and crossings of the unit square; a domain twice as large is the unit square of the solver, in which all that
has a length or a time is half as large.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from wavesim.fem import Burst, Mesh, resolved
from wavesim.fem.packing_mesh import SquarePacking, read
from wavesim.fem.plan import plain, split
from wavesim.fem.stored import draw_burst
from wavesim.preset_config import ResolvedConfig
from wavesim.provenance import settings_hash

USUAL = 1 / 1.4  # size ratio that forecasters are trained on
FREQUENCY = 6.0  # and of their sources
GRAINS = 64  # in the unit square
PACKINGS = 64


@dataclass(frozen=True)
class Scale:
    """frames: of a crossing of the unit square; grid: cells along its side; degree: that the truth begins with;
    elements: size of those of the truth's mesh; several: trajectories of the larger batch."""

    frames: int = 32
    grid: int = 64
    degree: int = 5
    elements: float = 0.03
    several: int = 32
    quick: bool = False


QUICK = Scale(8, 16, 3, 0.1, 2, True)


@dataclass(frozen=True)
class Scenario:
    """One panel. side: of the domain; tolerance: of the truth's own error, relative L2 at one crossing."""

    name: str
    bulk_modulus: float = 20.0
    density: float = 5.0
    size_ratio: float = USUAL
    frequency: float = FREQUENCY
    side: int = 1
    tolerance: float = 0.01
    main: bool = False

    @property
    def usual(self) -> bool:
        """Whether its packings are of the kind that forecasters are trained on."""
        return self.size_ratio == USUAL and self.side == 1

    @property
    def contrast(self) -> tuple[float, float]:
        return self.bulk_modulus, self.density

    def config(self, scale: Scale) -> ResolvedConfig:
        """The settings that a dataset of this scenario has."""
        standard = ResolvedConfig()
        return ResolvedConfig(
            bulk_modulus=self.bulk_modulus,
            density=self.density,
            grid=scale.grid * self.side,
            frames=scale.frames + 1,
            frame_interval=1 / (scale.frames * self.side),
            pulse_width=standard.pulse_width / self.side,
            frequency=self.frequency * self.side,
            element_size=scale.elements / self.side,
        )


SCENARIOS = (
    Scenario("contrast (4, 1)", 4.0, 1.0, tolerance=0.005, main=True),
    Scenario("contrast (9, 1)", 9.0, 1.0, tolerance=0.005, main=True),
    Scenario("contrast (20, 5)", main=True),
    Scenario("contrast (12, 3)", 12.0, 3.0),
    Scenario("contrast (40, 8)", 40.0, 8.0),
    Scenario("size ratio 0.3", size_ratio=0.3),
    Scenario("frequency 9", frequency=9.0),
    Scenario("domain 2 x 2", side=2),
)


@dataclass(frozen=True, eq=False)
class Case:
    """One medium of a scenario, with its bursts."""

    scenario: Scenario
    scale: Scale
    packing: SquarePacking
    bursts: tuple[Burst, ...]
    meshes: dict[float, tuple[Mesh, float]] = field(default_factory=dict)

    def meshed(self, size: float) -> tuple[Mesh, float]:
        """The mesh that follows its grains, of elements of a size, and the seconds of the processor that it took."""
        if size not in self.meshes:
            begin = time.process_time()
            mesh = resolved.meshed(self.packing, self.config.model_copy(update={"element_size": size}))
            self.meshes[size] = mesh, time.process_time() - begin
        return self.meshes[size]

    @property
    def config(self) -> ResolvedConfig:
        return self.scenario.config(self.scale)

    @property
    def key(self) -> str:
        """Twelve characters that change with anything the truth depends on."""
        bursts = [asdict(burst) for burst in self.bursts]
        return settings_hash([asdict(self.scenario), asdict(self.scale), plain(self.packing), bursts])


def cases(
    scenario: Scenario,
    scale: Scale,
    given: Path | None,
    folder: Path,
    media: int,
    bursts: int,
    seed: int,
    part: Literal["test", "valid"] = "test",
) -> Iterator[Case]:
    """The first `media` packings of a part, with the bursts that a dataset of that seed has there.

    Of packings that are made for a scenario alone, the last one validates.
    """
    config = scenario.config(scale)
    packings = lattices() if scale.quick else read(packings_of(scenario, given, folder))
    splits = split([packing.size_ratio for packing in packings], config)
    if not scenario.usual:
        splits = ["test"] * (len(packings) - 1) + ["valid"]
    for i in [i for i, name in enumerate(splits) if name == part][:media]:
        drawn = tuple(draw_burst(config, seed, i, row) for row in range(bursts))
        yield Case(scenario, scale, packings[i], drawn)


def packings_of(scenario: Scenario, given: Path | None, folder: Path) -> Path:
    """Of the scenario's kind: those given, or made in the folder where they are missing.

    The usual ones by the recipe of those that forecasters were trained on (apriori.py): they are the same, number by
    number.
    """
    if scenario.usual and given is not None:
        return given
    count = PACKINGS if scenario.usual else 8
    out = folder / f"packings-{scenario.size_ratio:.2f}-{scenario.side}"
    if not (out / "packings.h5").exists():
        command: list[object] = [sys.executable, "-m", "wavesim", "generate", "packings"]
        if scenario.size_ratio == USUAL:  # by area, as in the trainings; small grains else are half of all by number
            command += ["--small-fraction", 0.5]
        command += ["--particles", GRAINS * scenario.side**2, "--size-ratio", scenario.size_ratio, "--n", count]
        subprocess.run([str(word) for word in [*command, "--out", out]], check=True, stdout=subprocess.DEVNULL)
    return out / "packings.h5"


def lattices() -> list[SquarePacking]:
    """Four disks on a square lattice, of radii that differ from packing to packing: meshed in no time."""
    places = np.array([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]])
    return [SquarePacking(f"{k:06d}", places, np.array([0.2, 0.15, 0.15, 0.2]) - 0.01 * k, 0.75) for k in range(3)]
