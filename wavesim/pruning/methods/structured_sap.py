"""Structured SAP: the PQ index over the importance of whole units, cut out at once. Ours, not the paper's.

In each group of units (ranks of a filter, hidden width, encoder width) the index says how many survive, as in SAP for
weights. Then the network is cut to the next multiple of `config.multiple` at or above that number, or to what it
has: widths that are no multiple run slower than the next larger one that is (37 channels took twice the time of 32).
The places above the survivors go to the most important of the rest. These do not count as survivors: the index does not
see them again, so that rounds add up until a multiple is free, however little each of them removes.

Norms of whole units differ far less than single weights do: after training, the index over the units of a one-way
forecaster (32 channels, ranks of 16) was 0.004 to 0.05, over its weights 0.04 to 0.18. The bound without slack then
keeps all units, whatever gamma: set eta. eta = 0.1 keeps at most 0.83 of them a round, eta = 0.3 at most 0.59.
"""

from __future__ import annotations

from wavesim.pruning.method import Method
from wavesim.pruning.parts import of_the_units, require_layer_scope, rounded_up
from wavesim.pruning.quotas import Survivors, pq_bound
from wavesim.pruning.run import Run
from wavesim.pruning.scores import Scores


def by_layer(run: Run, scores: Scores) -> Survivors:
    """The index's survivors, group by group; as `require_layer_scope`."""
    require_layer_scope(run)
    return pq_bound(scores, run.survivors, run.settings, run.rows[0]["counts"])


STRUCTURED_SAP = Method(
    "structured-sap",
    "unpublished; after arXiv 2302.05601",
    score=of_the_units,
    quota=by_layer,
    restart="fine-tune",
    plan=rounded_up,
    rounds=4,
    adaptive=True,
    cuts_weights=False,
)
