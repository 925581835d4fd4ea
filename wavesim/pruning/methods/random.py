"""The control: weights go at random, in each tensor as many as another method took there, or equal shares.

Where a method is no better than this at equal counts, it has found how many weights each layer needs, and not which;
Su et al., Sanity-checking pruning methods, arXiv 2009.11094, saw that happen. It rewinds, as the lottery ticket.
"""

from __future__ import annotations

import torch

from wavesim.errors import WavesimError
from wavesim.pruning.method import Method
from wavesim.pruning.methods.lottery_ticket import density_now
from wavesim.pruning.quotas import Survivors, smallest_removed, to_density
from wavesim.pruning.run import Run
from wavesim.pruning.scores import Scores, magnitude
from wavesim.pruning.store import read_rows, result_in


def drawn(run: Run) -> Scores:
    """Numbers between 0 and 1, of this round's own."""
    rng = run.generator("random scores")
    return {name: torch.rand(w.shape, generator=rng, dtype=torch.double) for name, w in magnitude(run.model).items()}


def equal_counts(run: Run, scores: Scores) -> Survivors:
    """Layer by layer as many as `like` has after this round; without it the share that the lottery ticket leaves.

    Where there are fewer rounds than `like` had up to its result, they take the counts of its last ones.

    Raises:
        WavesimError: `like` has fewer rounds, or was made of another network.
    """
    by_layer = run.settings.model_copy(update={"scope": "layer"})
    if run.settings.like is None:
        return to_density(scores, run.survivors, by_layer, density_now(run))
    rows = read_rows(run.settings.like)
    rows = rows[: result_in(rows) + 1]
    assert run.settings.rounds is not None  # the loop has put in the method's own
    if run.settings.rounds >= len(rows):
        raise WavesimError(f"{run.settings.like} was pruned in {len(rows) - 1} rounds; set rounds to at most that")
    counts = rows[len(rows) - 1 - run.settings.rounds + run.number]["counts"]
    sizes = {name: values.numel() for name, values in scores.items()}
    if rows[0]["counts"] != sizes:
        raise WavesimError(f"{run.settings.like} was made of another network; prune this one by that method first")
    return smallest_removed(scores, run.survivors, by_layer, lambda name, values, size: counts[name])


RANDOM = Method("random", "control; arXiv 2009.11094", score=drawn, quota=equal_counts, restart="rewind", rounds=4)
