"""The lottery ticket: the smallest weights go in rounds of equal shares, and what is left starts again.

    density after round t = (1 - share)^t, or density^(t/T) where a final density is given
Frankle and Carbin, The lottery ticket hypothesis, ICLR 2019, arXiv 1803.03635: from the initial weights; with
rewind_to = k from those after k steps, arXiv 1903.01611. With restart = "fine-tune" it is iterative magnitude pruning
as of Han et al., arXiv 1506.02626.
"""

from __future__ import annotations

from wavesim.pruning.method import Method
from wavesim.pruning.methods.sap import of_the_model
from wavesim.pruning.quotas import Survivors, to_density
from wavesim.pruning.run import Run
from wavesim.pruning.scores import Scores


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


LOTTERY_TICKET = Method(
    "lottery-ticket", "arXiv 1803.03635", score=of_the_model, quota=equal_shares, restart="rewind", rounds=4
)
