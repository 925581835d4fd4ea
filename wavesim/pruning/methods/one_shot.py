"""One-shot pruning, in both readings of the word; the baselines that rounds of retraining have to beat.

one-shot         all at once: the smallest weights of the trained network go, and what is left is trained once
one-shot-dense   in rounds of equal shares, as the lottery ticket, but always the smallest weights of the network as
                 it came: what arXiv 2302.05601 calls one-shot; a curve over densities
"""

from __future__ import annotations

from wavesim.pruning.method import Method
from wavesim.pruning.parts import equal_shares, of_the_weights
from wavesim.pruning.run import Run
from wavesim.pruning.scores import Scores, magnitude


def of_the_dense_one(run: Run) -> Scores:
    """|w| of the network as it came."""
    return magnitude(run.dense)


ONE_SHOT = Method(
    "one-shot", "arXiv 1506.02626, in one round", score=of_the_weights, quota=equal_shares, restart="fine-tune"
)
ONE_SHOT_DENSE = Method(
    "one-shot-dense",
    "baseline of arXiv 2302.05601",
    score=of_the_dense_one,
    quota=equal_shares,
    restart="rewind",
    rounds=4,
)
