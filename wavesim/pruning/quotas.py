"""How much is removed in one round: as much as the PQ index of the survivors allows, group by group.

Scopes, the groups over which one index is taken and the smallest scores are removed:
    global    everything there is
    layer     each tensor of scores
    neuron    each row of a weight (what makes one output channel); a weight with rows shorter than 16 is one group,
              because a row of five taps is too short for an index
In every scope each tensor keeps at least `config.multiple` of what it has. Without that, the global scope took the
whole head of a trained forecaster in its first round: it starts at zero and stays small, and nothing learns behind it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from wavesim.config import PruningConfig
from wavesim.pruning.pq_index import count_to_remove
from wavesim.pruning.scores import Scores

SHORTEST_ROW = 16

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


def pq_bound(scores: Scores, survivors: Survivors, config: PruningConfig) -> Survivors:
    """The survivors of one more round of SAP: in each group the smallest go, in order where they are equal.

    Raises:
        WavesimError: scores that are not finite, or exponents without an index.
    """
    values, left = _flat(scores), _flat(survivors).clone()
    for members in _groups(scores, config.scope).values():
        members = members[left[members]]
        count = count_to_remove(values[members], config.p, config.q, config.eta, config.gamma, config.beta)
        left[members[values[members].argsort(stable=True)[:count]]] = False
    for members in _groups(scores, "layer").values():
        before = members[_flat(survivors)[members]]
        strongest = values[before].argsort(descending=True, stable=True)
        if left[members].sum() < config.multiple:
            left[before[strongest[: config.multiple]]] = True
    parts = left.split([part.numel() for part in scores.values()])
    return {name: part.reshape(scores[name].shape) for name, part in zip(scores, parts, strict=True)}


def _groups(scores: Scores, scope: str) -> dict[str, torch.Tensor]:
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
