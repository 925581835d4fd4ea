"""SAP, sparsity-informed adaptive pruning: single weights, as many each round as the PQ index allows.

Diao et al., Pruning deep neural networks from a sparsity perspective, ICLR 2023, arXiv 2302.05601. With the paper,
restart = "rewind". Where ours differs: the model that is measured is chosen on validation trajectories, not on the
test set; exactly as many weights go as the formula says, ties in order.
"""

from __future__ import annotations

from collections.abc import Sequence

import lightning

from wavesim.config import PruningConfig
from wavesim.pruning.hooks import Freeze
from wavesim.pruning.method import Method
from wavesim.pruning.plans import Mask, Plan
from wavesim.pruning.quotas import Survivors, pq_bound
from wavesim.pruning.scores import Scores, magnitude


def masked(scores: Scores, survivors: Survivors, config: PruningConfig) -> Mask:
    """The survivors, as a mask."""
    return Mask(survivors)


def frozen(plan: Plan) -> Sequence[lightning.Callback]:
    """The mask is kept through training."""
    return (Freeze(plan),) if isinstance(plan, Mask) else ()


SAP = Method("sap", "arXiv 2302.05601", score=magnitude, quota=pq_bound, plan=masked, hooks=frozen)
