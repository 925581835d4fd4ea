"""SAP, sparsity-informed adaptive pruning: single weights, as many each round as the PQ index allows.

Diao et al., Pruning deep neural networks from a sparsity perspective, ICLR 2023, arXiv 2302.05601. With the paper,
eta = 0. Where ours differs: the model that is measured is chosen on validation trajectories, not on the test set;
exactly as many weights go as the formula says, ties in order; no tensor is emptied.
"""

from __future__ import annotations

from wavesim.pruning.method import Method
from wavesim.pruning.parts import of_the_weights
from wavesim.pruning.quotas import Survivors, pq_bound
from wavesim.pruning.run import Run
from wavesim.pruning.scores import Scores


def by_the_index(run: Run, scores: Scores) -> Survivors:
    """As many as the index of what is left allows to go."""
    return pq_bound(scores, run.survivors, run.settings)


SAP = Method(
    "sap",
    "arXiv 2302.05601",
    score=of_the_weights,
    quota=by_the_index,
    restart="rewind",
    rounds=4,
    adaptive=True,
)
