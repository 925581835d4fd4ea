"""Parts that several methods share: scores, quotas and plans, each a function of the run.

density after round t = (1 - share)^t, or density^(t/T) where a final density is given
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import lightning

from wavesim.errors import WavesimError
from wavesim.pruning.hooks import Freeze
from wavesim.pruning.plans import Keep, Mask, Plan
from wavesim.pruning.quotas import Survivors, to_density
from wavesim.pruning.run import Run
from wavesim.pruning.scores import Scores, importance, magnitude


def of_the_weights(run: Run) -> Scores:
    """|w| as last trained."""
    return magnitude(run.model)


def of_the_units(run: Run) -> Scores:
    """Importance, as last trained."""
    return importance(run.model)


def as_shown(run: Run) -> Scores:
    """What an approach left to be scored by; |w| before it and after the cut."""
    return run.scores or magnitude(run.model)


def density_now(run: Run) -> float:
    """The share of everything that this round leaves."""
    settings = run.settings
    if settings.density is None:
        return float((1 - settings.share) ** run.number)
    assert settings.rounds is not None  # the loop has put in the method's own
    return float(settings.density ** (run.number / settings.rounds))


def equal_shares(run: Run, scores: Scores) -> Survivors:
    """As many as this round leaves, in every group of the scope."""
    return to_density(scores, run.survivors, run.settings, density_now(run))


def require_layer_scope(run: Run) -> None:
    """Raises WavesimError for another scope than "layer": importances of ranks and of channels have no common scale."""
    settings = run.settings
    if settings.scope != "layer":
        raise WavesimError(
            f"scope '{settings.scope}' means nothing to {settings.method}; set scope = 'layer', or a method of single "
            "weights, such as 'sap'"
        )


def masked(run: Run, scores: Scores, survivors: Survivors) -> Plan:
    """The survivors, as a mask."""
    return Mask(survivors)


def rounded_up(run: Run, scores: Scores, survivors: Survivors) -> Keep:
    """All surviving units and, up to the next multiple, the most important of the others that are there."""
    kept, multiple = {}, run.settings.multiple
    for group, left in survivors.items():
        places = min(math.ceil(int(left.sum()) / multiple) * multiple, len(left))
        best_first = scores[group].masked_fill(left, math.inf).argsort(descending=True, stable=True)
        kept[group] = best_first[:places].sort().values
    return Keep(kept)


def frozen(run: Run, plan: Plan) -> Sequence[lightning.Callback]:
    """A mask is kept through training; what is cut out needs no care."""
    return (Freeze(plan),) if isinstance(plan, Mask) else ()
