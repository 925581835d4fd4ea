"""What a round says: how sparse the network is, what it costs, and what of that is real.

Costs are those of the materialised network; `masked_milliseconds` is the time of the same network with its zeros still
in it, beside which `milliseconds` shows that only what is cut out makes it faster. (Units are cut out in the round that
finds them, and leave no zeros: there the two are times of equal networks, and round 0 has that of the whole one.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wavesim.config import PruningConfig
from wavesim.pruning.methods import METHODS
from wavesim.pruning.pq_index import gini_index, pq_index
from wavesim.pruning.quotas import surviving_scores
from wavesim.pruning.run import Row, Run
from wavesim.pruning.scores import importance, magnitude
from wavesim.pruning.store import result_in
from wavesim.surrogate import Forecaster
from wavesim.surrogate.checkpoint import stored_bytes
from wavesim.surrogate.loops import in_loops
from wavesim.turns import forecasting, in_turns
from wavesim.well_dataset import open_split

TURNS, BURST = 5, 4  # some 20 frames of each: a round must not wait for its clock


def measured(run: Run, result: Forecaster, cuts_weights: bool) -> Row:
    """What a row says of the network as it stands, and of its result, which is materialised.

    pq_index, gini_index: means over the groups of the scope, of |w| of what is left or of the importance of units,
    whatever the method scores. pq_index_groups: of each. survivors and counts: what is left of what is scored, in all
    and of each tensor or group of units. density: nonzero parameters over those of round 0. Then `cost` and `times`.
    """
    config, model = run.settings, run.model
    groups = surviving_scores(magnitude(model) if cuts_weights else importance(model), run.survivors, config.scope)
    indices = {group: pq_index(values, config.p, config.q) for group, values in groups.items()}
    counts = {name: int(left.sum()) for name, left in run.survivors.items()}
    valid = open_split(run.job.data, "valid")
    costs = cost(result, valid.grid)
    return {
        "pq_index": float(np.mean(list(indices.values()))),
        "gini_index": float(np.mean([gini_index(values) for values in groups.values()])),
        "pq_index_groups": indices,
        "survivors": sum(counts.values()),
        "counts": counts,
        "density": costs["nonzero"] / (run.rows[0] if run.rows else costs)["nonzero"],
        **costs,
        **times(model, result, valid.window(0, 0, 1)[0], valid.medium(0)),
    }


def why_not(rows: Sequence[Mapping[str, Any]], config: PruningConfig) -> str | None:
    """In a line, why a run cut nothing, or less than its density asked for, and what to change; None where it did."""
    if (chosen := result_in(rows)) < len(rows) - 1:
        bound = f"{config.within:g} times the error of the network as it came"
        if chosen == 0:
            least = min(row["validation_error"] for row in rows[1:]) / rows[0]["validation_error"]
            return f"nothing was cut: no round is within {bound}, the best has {least:.3g} times; raise within"
        return f"the result is round {chosen}, the last one within {bound}"
    if said := nothing_cut(rows, config):
        return said
    left, units = rows[-1]["survivors"], rows[0]["survivors"]
    asked, groups = config.density, rows[0]["counts"]
    if asked is None or left <= asked * units + len(rows[0]["pq_index_groups"]):  # each group of the scope rounds
        return None
    came = f"{left / units:.2g} of {units} units or weights are left, not the {asked:g} asked for"
    if METHODS[config.method].adaptive:
        return (
            f"{came}: the PQ index let no more go in {len(rows) - 1} rounds; raise rounds, gamma (now {config.gamma:g})"
            f" or eta (now {config.eta:g}) in [pruning]"
        )
    return f"{came}: of each of {len(groups)} groups {config.multiple} stay; lower multiple in [pruning]"


def nothing_cut(rows: Sequence[Mapping[str, Any]], config: PruningConfig) -> str | None:
    """Why a run cut nothing, in a line, and what to change; None where it cut something."""
    first, last = rows[0], rows[-1]
    if last["parameters"] < first["parameters"] or last["density"] < 1:
        return None
    left, units = last["survivors"], first["survivors"]
    if config.density == 1:
        return f"nothing was cut: density 1 leaves all {units} units or weights; give a smaller density"
    if left == units:
        return (
            f"nothing was cut: the PQ index, and multiple = {config.multiple}, which each group keeps at least, let "
            f"none of {units} units or weights go; raise eta (now {config.eta:g}), or lower multiple, in [pruning]"
        )
    return (
        f"nothing was cut: the PQ index lets {units - left} of {units} units go, too few anywhere to come down by a "
        f"multiple of {config.multiple}; lower multiple, or raise rounds or eta (now {config.eta:g}) in [pruning]"
    )


def cost(model: Forecaster, grid: tuple[int, int]) -> dict[str, int]:
    """parameters, nonzero (of these), stored_bytes (in a file), macs_per_frame on a grid (y, x)."""
    return {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "nonzero": sum(int(weight.count_nonzero()) for weight in model.parameters()),
        "stored_bytes": stored_bytes(model),
        "macs_per_frame": model.macs(grid)["frame"],
    }


def times(masked: Forecaster, result: Forecaster, state: np.ndarray, medium: np.ndarray) -> dict[str, float]:
    """Smallest milliseconds of a frame before and after materialising, in turns, each in its fastest runtime."""
    works = {
        name: (forecasting(in_loops(model), state, medium), model.config.bundle)
        for name, model in {"masked_milliseconds": masked, "milliseconds": result}.items()
    }
    return {name: least for name, (least, _) in in_turns(works, TURNS, BURST).items()}
