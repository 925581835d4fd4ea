"""The control: weights, or whole units, go at random, in each tensor or group as many as another method took there.

Where a method is no better than this at equal counts, it has found how many weights each layer needs, and not which;
Su et al., Sanity-checking pruning methods, arXiv 2009.11094, saw that happen. Alone it leaves equal shares. Weights are
rewound, as by the lottery ticket; units go on, as by structured SAP.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from wavesim.errors import WavesimError
from wavesim.pruning.method import Method
from wavesim.pruning.parts import density_now, require_layer_scope, rounded_up
from wavesim.pruning.quotas import Survivors, smallest_removed, to_density
from wavesim.pruning.run import Run
from wavesim.pruning.scores import Scores, importance, magnitude
from wavesim.pruning.store import read_rows, result_in
from wavesim.surrogate import Forecaster


def drawn(run: Run, scored: Callable[[Forecaster], Scores] = magnitude) -> Scores:
    """Numbers between 0 and 1, of this round's own, one for each of what is scored."""
    rng = run.generator("random scores")
    return {name: torch.rand(w.shape, generator=rng, dtype=torch.double) for name, w in scored(run.model).items()}


def equal_counts(run: Run, scores: Scores) -> Survivors:
    """Layer by layer as many as `like` has after this round; without it the share that the lottery ticket leaves.

    Where there are fewer rounds than `like` had up to its result, they take the counts of its last ones.

    Raises:
        WavesimError: `like` has fewer rounds, or was made of another network.
    """
    by_layer, sizes = run.settings.model_copy(update={"scope": "layer"}), run.rows[0]["counts"]
    if run.settings.like is None:
        return to_density(scores, run.survivors, by_layer, density_now(run), sizes)
    rows = read_rows(run.settings.like)
    rows = rows[: result_in(rows) + 1]
    assert run.settings.rounds is not None  # the loop has put in the method's own
    if run.settings.rounds >= len(rows):
        raise WavesimError(f"{run.settings.like} was pruned in {len(rows) - 1} rounds; set rounds to at most that")
    counts = rows[len(rows) - 1 - run.settings.rounds + run.number]["counts"]
    if rows[0]["counts"] != sizes:
        raise WavesimError(f"{run.settings.like} was made of another network; prune this one by that method first")
    return smallest_removed(scores, run.survivors, by_layer, lambda name, values, size: counts[name])


def equal_counts_of_units(run: Run, scores: Scores) -> Survivors:
    """As `equal_counts`, group by group; as `require_layer_scope`."""
    require_layer_scope(run)
    return equal_counts(run, scores)


RANDOM = Method("random", "control; arXiv 2009.11094", score=drawn, quota=equal_counts, restart="rewind", rounds=4)
STRUCTURED_RANDOM = replace(
    RANDOM,
    name="structured-random",
    score=partial(drawn, scored=importance),
    quota=equal_counts_of_units,
    restart="fine-tune",
    plan=rounded_up,
    cuts_weights=False,
)
