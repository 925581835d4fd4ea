"""How much is removed in one round, group by group: the smallest scores go, in order where they are equal.

Scopes, the groups over which counts are taken and the smallest scores are removed:
    global    everything there is
    layer     each tensor of scores
    neuron    each row of a weight (what makes one output channel); a weight with rows shorter than 16 is one group,
              because a row of five taps is too short for an index
In every scope the strongest `config.multiple` of each tensor stay. In the global scope the head stays whole: it starts
at zero and stays small, so that its weights would be the first to go, and nothing learns behind the few that are left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from wavesim.config import PruningConfig
from wavesim.errors import WavesimError
from wavesim.pruning.pq_index import count_to_remove
from wavesim.pruning.scores import Scores

SHORTEST_ROW = 16
HEAD = "head.weight"

Survivors = dict[str, torch.Tensor]
"""Name of a parameter or of a group of units -> what is left of it, bool, of the scores' shape."""


def everything(scores: Scores) -> Survivors:
    """The survivors before the first round."""
    return {name: torch.ones_like(values, dtype=torch.bool) for name, values in scores.items()}


def surviving_scores(scores: Scores, survivors: Survivors, scope: str) -> dict[str, torch.Tensor]:
    """Group -> the scores of its survivors, flat; groups without any are left out."""
    values, left = _flat(scores), _flat(survivors)
    found = {name: values[members[left[members]]] for name, members in _groups(scores, scope).items()}
    return {name: members for name, members in found.items() if len(members)}


def pq_bound(
    scores: Scores, survivors: Survivors, config: PruningConfig, sizes: Mapping[str, int] | None = None
) -> Survivors:
    """The survivors of one more round of SAP: as many go as the index allows, but no more than `config.density` does.

    Args:
        sizes: of tensors that have lost what was cut from them, as they once were.
    Raises:
        WavesimError: scores that are not finite, exponents without an index, or a density below what has to stay.
    """
    require_room(scores, config, config.density or 1.0, sizes)

    def left(group: str, values: torch.Tensor, size: int) -> int:
        count = count_to_remove(values, config.p, config.q, config.eta, config.gamma, config.beta)
        return max(len(values) - count, places(config.density or 0.0, size))

    return smallest_removed(scores, survivors, config, left, sizes)


def to_density(
    scores: Scores,
    survivors: Survivors,
    config: PruningConfig,
    density: float,
    sizes: Mapping[str, int] | None = None,
) -> Survivors:
    """The survivors when the share `density` of every group is left, zero or more going for it.

    Args:
        sizes: as in `pq_bound`.
    Raises:
        WavesimError: scores that are not finite, or a density below what has to stay.
    """
    require_room(scores, config, density, sizes)
    return smallest_removed(scores, survivors, config, lambda group, values, size: places(density, size), sizes)


def places(density: float, size: int) -> int:
    """How many of `size` the share `density` is."""
    return round(density * size)


def require_room(scores: Scores, config: PruningConfig, density: float, sizes: Mapping[str, int] | None = None) -> None:
    """Raises WavesimError where `density` leaves less than has to stay of every tensor; sizes: as in `pq_bound`."""
    total = sum((sizes or {}).get(name, values.numel()) for name, values in scores.items())
    least = sum(
        values.numel() if whole(name, config) else min(config.multiple, values.numel())
        for name, values in scores.items()
    )
    if places(density, total) < least:
        head = " and the whole head" if any(whole(name, config) for name in scores) else ""
        raise WavesimError(
            f"density {density:g} leaves {places(density, total)} of {total:,}, but {config.multiple} of each of "
            f"{len(scores)} tensors{head} stay, {least} in all; give at least {least / total:.2g}, or a smaller "
            "multiple"
        )


def whole(name: str, config: PruningConfig) -> bool:
    """Whether a tensor stays whole."""
    return config.scope == "global" and name.endswith(HEAD)


def in_groups_with(flagged: Survivors, scope: str) -> Survivors:
    """Everything in the groups of a scope in which anything is flagged."""
    flags = _flat(flagged)
    found = torch.zeros_like(flags)
    for members in _groups(flagged, scope).values():
        found[members] = flags[members].any()
    parts = found.split([part.numel() for part in flagged.values()])
    return {name: part.reshape(flagged[name].shape) for name, part in zip(flagged, parts, strict=True)}


def smallest_removed(
    scores: Scores,
    survivors: Survivors,
    config: PruningConfig,
    left: Callable[[str, torch.Tensor, int], int],
    sizes: Mapping[str, int] | None = None,
) -> Survivors:
    """The survivors after each group gave up its smallest; `left` says how many of its survivors stay.

    Args:
        left: of a group, the scores of its survivors, and the size that it once had. sizes: as in `pq_bound`.
    Raises:
        WavesimError: scores that are not finite.
    """
    values, alive = _flat(scores), _flat(survivors).clone()
    if not torch.isfinite(values).all():
        raise WavesimError("the scores of what is to be pruned are not all finite; what made them was unstable")
    stays = {name: torch.full_like(left, whole(name, config)) for name, left in survivors.items()}
    protected = _flat(stays)
    while True:
        after = _removed(values, alive, protected, _groups(scores, config.scope), left, sizes or {})
        short = [
            members[alive[members]]
            for members in _groups(scores, "layer").values()
            if after[members].sum() < min(config.multiple, int(alive[members].sum()))
        ]
        if not short:
            break
        for members in short:  # others give up more in their place
            protected[members[values[members].argsort(descending=True, stable=True)[: config.multiple]]] = True
    parts = after.split([part.numel() for part in scores.values()])
    return {name: part.reshape(scores[name].shape) for name, part in zip(scores, parts, strict=True)}


def _removed(
    values: torch.Tensor,
    alive: torch.Tensor,
    protected: torch.Tensor,
    groups: Mapping[str, torch.Tensor],
    left: Callable[[str, torch.Tensor, int], int],
    sizes: Mapping[str, int],
) -> torch.Tensor:
    """What is alive after each group gave up the smallest of what is not protected."""
    after = alive.clone()
    for group, members in groups.items():
        size, members = sizes.get(group, len(members)), members[alive[members]]
        count = max(len(members) - left(group, values[members], size), 0)
        open_to = members[~protected[members]]
        after[open_to[values[open_to].argsort(stable=True)[:count]]] = False
    return after


def _groups(scores: Mapping[str, torch.Tensor], scope: str) -> dict[str, torch.Tensor]:
    """Group -> positions of its members in the concatenation of all scores."""
    positions = torch.arange(sum(part.numel() for part in scores.values()))
    if scope == "global":
        return {"all": positions}
    found: dict[str, torch.Tensor] = {}
    for name, part in zip(scores, positions.split([part.numel() for part in scores.values()]), strict=True):
        rows = part.reshape(len(scores[name]), -1)
        if scope == "neuron" and rows.shape[1] >= SHORTEST_ROW:
            found |= {f"{name}[{row}]": members for row, members in enumerate(rows)}
        else:
            found[name] = part
    return found


def _flat(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([part.flatten() for part in tensors.values()])
