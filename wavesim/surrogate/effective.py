"""The effective-medium step: the coarse step with coefficients that an encoder reads from the micro-structure.

In units of the frame interval and the cell, with d the differences across faces and C the Courant number,
    <p, A p> = sum over faces   G d^2                          G = 2 C^2 e^(z + z') / (rho + rho')
             + sum over corners 2 T g_x g_y                    |T| < least G of the corner's four faces / 2
             + sum over cells   S_x (d_right - d_left)^2 + S_y (d_top - d_bottom)^2
                                                               |S| < least G of the cell's two faces / 8
    p_tt = -k A p,    k = kappa e^z
with z, z', T and S between their bounds by the tanh of what the encoder says of each cell; g_x and g_y are means of the
two differences that meet in a corner. G is 1/rho for waves along an axis, T its off-diagonal part, which inclined
layers have, and S widens the stencil: 12 S = G is the Laplacian of fourth order. Each part alone takes less than half
of the faces' energy away, since (a +- b)^2 <= 2 a^2 + 2 b^2: for any weights the tensor is positive definite and only a
constant pressure is at rest. The encoder's last layer starts at zero, where the step is the coarse one.

All of it is links to the 12 nearest cells, w (p_neighbour - p), beyond a wall to their images. An absorbing side is a
rigid wall with the coarse step's damping.

A is symmetric and semidefinite for any weights: superposition, scaling and time reversal hold, and velocity Verlet with
n sub-steps conserves, to rounding, the scheme's own energy
    E = 1/2 <u, u / k> + 1/2 <p, A (p + u/n)>,    u = v - k A p / (2n),
with damping E falls. E is positive, and bounds the state for ever, where the largest eigenvalue of k A is below 4 n^2.
That is bounded once for each medium, and a medium that is too stiff for the settings' sub-steps gets more: nothing is
scaled, so that no wave is slowed. The same in training: what is learned is the step that forecasts, its error in time
included, and the loss stays finite whatever the weights do on their way.

References: Milton, The Theory of Composites, 2002, for effective tensors and their bounds; Hairer, Lubich and Wanner,
Geometric Numerical Integration, 2006, section IX, for E.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from wavesim.config import ForecasterConfig, Side
from wavesim.surrogate.coarse import EDGES, FACES, CoarseStep, Substeps
from wavesim.surrogate.layers import pointwise
from wavesim.surrogate.layers.padding import Boundary
from wavesim.surrogate.networks.network import GatedByMedium, Seen, in_training_order
from wavesim.surrogate.obstacles import without_obstacles
from wavesim.surrogate.sides import Padding, around, padding

WALLS: dict[Side, Boundary] = {"rigid": "mirror", "soft": "odd", "periodic": "periodic", "absorbing": "mirror"}
SIZES: dict[Side, Boundary] = {**WALLS, "soft": "mirror"}
"""Of images, without their sign."""
CORNERS = ((1, 1), (1, -1), (-1, 1), (-1, -1))
"""(y, x) of a cell's corners, and of the neighbours behind them."""
NEIGHBOURS = ((0, 1), (0, -1), (1, 0), (-1, 0), *CORNERS, (0, 2), (0, -2), (2, 0), (-2, 0))
REACH = 2
# Of the bound of the largest eigenvalue: after one it is up to 77 % too large at contrast (20, 5), after six up to 4 %.
ITERATIONS = 6
# Of the coarse step's sub-steps: with 5 of 7 the error is that with 8, with 4 nearly twice it (docs/decisions.md).
LEAST = 0.7
STABLE = 0.95  # of the largest eigenvalue that the sub-steps are stable with: what training aims at


def granted(coarse: torch.Tensor, substeps: int) -> torch.Tensor:
    """Sub-steps that a frame may take in each medium, (batch, 1, 1, 1), of the coarse step's stencil; `substeps` or
    more."""
    needed = CoarseStep.stable_with(CoarseStep.bound(coarse))
    return torch.ceil(LEAST * needed).clamp(min=substeps).view(-1, 1, 1, 1)


class Coefficients(GatedByMedium):
    """Eleven numbers between -1 and 1 for each cell: four of its faces, four of its corners, S_x, S_y and kappa.

    h_l = h_(l-1) + gelu(W_l h_(l-1)) for each of `config.ranks`, and h_0 is what `look_at` sees. All of it runs once
    for each medium: its width and depth cost a frame nothing.
    """

    head: nn.Conv2d | nn.Conv3d

    def __init__(self, config: ForecasterConfig):
        super().__init__(config)
        self.make_look()
        wide = config.encoder_width
        self.filters = nn.ModuleList(self.filter(wide, wide, rank, medium=True) for rank in config.ranks)
        self.head = pointwise(config.encoder_width, len(FACES) + len(CORNERS) + 3, bias=True)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    @property
    def least(self) -> int:
        return max(self.config.kernel_size // 2, REACH)

    def encode(self, medium: torch.Tensor) -> Seen:
        hidden = self.look_at(in_training_order(medium))
        for spatial in self.filters:
            hidden = hidden + F.gelu(spatial(hidden))
        with torch.autocast(medium.device.type, enabled=False):  # coefficients are not to be rounded to eight bits
            said = torch.tanh(self.head(hidden.to(medium)))
        return said.split((len(FACES), len(CORNERS), 2, 1), dim=1)

    def macs(self, grid: tuple[int, int]) -> tuple[int, int]:
        pointwise = grid[0] * grid[1] * self.head.weight.numel()
        filters = [self.look, self.look_further, *self.filters_of(self.filters)]
        return 0, pointwise + sum(spatial.macs(grid) for spatial in filters)


class EffectiveStep(CoarseStep):
    """The stencil: the weights of the twelve links, damping if any, kappa."""

    links = len(NEIGHBOURS)

    def __init__(self, config: ForecasterConfig, courant: float):
        super().__init__(courant, config.substeps, config.sides)
        self.coefficients = Coefficients(config)
        self.images, self.sizes = padding(config.sides, WALLS), padding(config.sides, SIZES)
        # Beyond walls a corner's T is minus its image: none at the wall itself.
        self.corners_beyond = padding(
            config.sides, {"rigid": "zero", "soft": "zero", "periodic": "periodic", "absorbing": "zero"}
        )

    @property
    def least(self) -> int:  # type: ignore[override]
        return self.coefficients.least

    def check(self, stencil: torch.Tensor) -> None:
        """No medium is refused: a stiff one takes more sub-steps."""

    def stencil(self, medium: torch.Tensor) -> torch.Tensor:
        faces, corners, second, bulk = self.coefficients.encode(without_obstacles(medium))
        opposite = torch.cat([self._at(faces[:, face ^ 1, None], *NEIGHBOURS[face]) for face in range(4)], dim=1)
        conductance = self.conductance(medium[:, 1:]) * torch.exp(faces + opposite)
        right, left, top, bottom = conductance.split(1, dim=1)

        least = torch.cat((torch.minimum(right, left), torch.minimum(top, bottom)), dim=1)
        along = second * least / 8
        said = [self._at(corners[:, k, None], *place) for k, place in enumerate(((0, 0), (0, 1), (1, 0), (1, 1)))]
        tensor = torch.stack(said).mean(dim=0) * self.meeting(conductance) / 2
        kappa = medium[:, :1] * torch.exp(bulk)
        links = kappa * self.links_of(conductance, along, tensor)
        return torch.cat((links, self.damping(medium), kappa) if self.absorbs else (links, kappa), dim=1)

    def kappa(self, stencil: torch.Tensor) -> torch.Tensor:
        """k above, (batch, 1, y, x)."""
        place = self.links + self.absorbs
        return stencil[:, place : place + 1]

    def meeting(self, conductance: torch.Tensor) -> torch.Tensor:
        """The least G of the four faces around the corner high in x and y, (batch, 1, y, x)."""
        right, _, top, _ = conductance.split(1, dim=1)
        return torch.stack((right, self._at(right, 1, 0), top, self._at(top, 0, 1))).amin(dim=0)

    def links_of(self, conductance: torch.Tensor, along: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
        """Weights of the twelve links without kappa, (batch, 12, y, x).

        Args:
            conductance: G of FACES, (batch, 4, y, x). along: S_x and S_y, (batch, 2, y, x).
            tensor: T of the corner high in x and y, (batch, 1, y, x).
        """
        along = along[:, (0, 0, 1, 1)]
        beside = torch.cat([self._at(along[:, face, None], *NEIGHBOURS[face]) for face in range(4)], dim=1)
        tensor = self._without_walls(tensor)
        diagonal = [
            sign * self._at(tensor, y, x, self.corners_beyond)
            for sign, y, x in ((1, 0, 0), (-1, 0, -1), (-1, -1, 0), (1, -1, -1))
        ]
        nearest = conductance + 2 * (along + beside)
        for face, (name, _) in enumerate(FACES):  # the image behind a wall is the cell itself
            if self.sides[name] in ("rigid", "absorbing"):
                nearest[:, face][EDGES[name]] = 0
        return torch.cat((nearest, *(one / 2 for one in diagonal), -beside), dim=1)

    def strain(self, pressure: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Differences to the twelve neighbours, (batch, 1, y, x) each."""
        height, width = pressure.shape[-2:]
        wide = around(pressure, REACH, self.images)
        places = [(REACH + y, REACH + x) for y, x in NEIGHBOURS]
        return tuple(wide[..., y : y + height, x : x + width] - pressure for y, x in places)

    @torch.no_grad()
    def largest(self, stencil: torch.Tensor, enough: float | torch.Tensor = 0.0) -> torch.Tensor:
        """A bound of the largest eigenvalue of k A from above, (batch,): max (|k A| x) / x, for any x > 0.

        With x = 1 it is Gershgorin's; with x = |k A| x, again and again, it only falls, to the largest eigenvalue of
        |k A|, and that is k A's own where links go from the black to the white cells of a chessboard.

        Args:
            enough: a bound, or (batch, 1, 1, 1), up to which no better one is looked for.
        Source: Collatz, Mathematische Zeitschrift 48 (1942), 221.
        """
        return self._bound(stencil, self._positive(stencil, enough)).amax(dim=(1, 2, 3)) * (1 + 1e-5)  # rounded off

    def granted(self, medium: torch.Tensor) -> torch.Tensor:
        """Sub-steps that a frame takes at least in each of these media, (batch, 1, 1, 1)."""
        return granted(super().stencil(medium), self.substeps)

    def substeps_in(self, stencil: torch.Tensor, medium: torch.Tensor) -> Substeps:
        """Those that are granted, or as many as each medium is stable in; at export the settings'."""
        if torch.compiler.is_exporting():
            return self.substeps
        granted = self.granted(medium)
        largest = self.largest(stencil, enough=3.999 * granted**2).view_as(granted)
        each = torch.maximum(granted, self.stable_with(largest))
        most = int(each.max())
        return most if int(each.min()) == most else each

    def excess(self, stencil: torch.Tensor, medium: torch.Tensor) -> torch.Tensor:
        """Of Collatz's bound, cell by cell and relative, over what the sub-steps granted are stable with; the mean of
        its squares. Where training finds a wider stencil in time as in space, a stiff cell takes no more sub-steps."""
        limit = STABLE * 4 * self.granted(medium) ** 2
        return F.relu(self._bound(stencil, self._positive(stencil, limit)) / limit - 1).square().mean()

    @torch.no_grad()
    def _positive(self, stencil: torch.Tensor, enough: float | torch.Tensor) -> torch.Tensor:
        """x of a bound that is below `enough`, or the last of ITERATIONS."""
        field = torch.ones_like(stencil[:, :1])
        for _ in range(ITERATIONS - 1):
            bound = self._bound(stencil, field)
            if (bound < enough).all():
                break
            field = bound * field
            field = field / field.amax(dim=(1, 2, 3), keepdim=True).clamp_min(torch.finfo(field.dtype).tiny)
        return field

    def _bound(self, stencil: torch.Tensor, field: torch.Tensor) -> torch.Tensor:
        """(|k A| x) / x of each cell, (batch, 1, y, x)."""
        links = stencil[:, : self.links]
        image, wide = links.sum(dim=1, keepdim=True).abs() * field, around(field, REACH, self.sizes)
        height, width = stencil.shape[-2:]
        for size, (y, x) in zip(links.abs().split(1, dim=1), NEIGHBOURS, strict=True):
            image = torch.addcmul(image, size, wide[..., REACH + y :, REACH + x :][..., :height, :width])
        return image / field.clamp_min(torch.finfo(field.dtype).tiny)  # nothing lies in an obstacle

    def energy(self, state: torch.Tensor, stencil: torch.Tensor, medium: torch.Tensor) -> torch.Tensor:
        return super().energy(state, stencil, self.kappa(stencil))

    def scheme_energy(self, state: torch.Tensor, stencil: torch.Tensor, substeps: Substeps) -> torch.Tensor:
        """E above, (batch, 1, 1, 1)."""
        pressure, rate = state[:, :1], state[:, 1:]
        acceleration = self.acceleration(pressure, stencil)
        damping = stencil[:, self.links : self.links + 1] / (2 * substeps) if self.absorbs else 0.0
        rate = rate * (1 - damping) + acceleration / (2 * substeps)
        density = rate.square() - (pressure + rate / substeps) * acceleration
        return (density / (2 * self.kappa(stencil))).sum(dim=(1, 2, 3), keepdim=True)

    def macs(self, grid: tuple[int, int]) -> tuple[int, int]:
        acceleration = 2 * self.links + 1
        frame = grid[0] * grid[1] * ((self.substeps + 1) * acceleration + self.substeps)
        return frame, self.coefficients.macs(grid)[1]

    def _at(self, field: torch.Tensor, y: int, x: int, beyond: Padding | None = None) -> torch.Tensor:
        """The field of the neighbour at (y, x) of every cell."""
        height, width = field.shape[-2:]
        wide = around(field, 1, beyond or self.medium_beyond)
        return wide[..., 1 + y : 1 + y + height, 1 + x : 1 + x + width]

    def _without_walls(self, tensor: torch.Tensor) -> torch.Tensor:
        """None in the corners that lie in the upper and the right side; those of the others nobody stores."""
        if "periodic" not in self.corners_beyond[0]:
            tensor = F.pad(tensor[..., :-1, :], (0, 0, 0, 1))
        if "periodic" not in self.corners_beyond[1]:
            tensor = F.pad(tensor[..., :-1], (0, 1))
        return tensor
