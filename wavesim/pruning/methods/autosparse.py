"""AutoSparse: before training, a regressor that learned from earlier prunings says which weights would have lasted.

Cheng et al., Learning effective pruning at initialization from iterative pruning, arXiv 2408.14757. The weights where
restarts begin are scored, cut once to `density`, and trained from there. Where ours differs: features are scaled layer
by layer (features.py), the network that learns is smaller, and what it is told to have learned was held out
(learning.py). Restarts begin one step or more into the training: before that, gradients are zero (features.py).

autosparse-shuffled   the control: the same scores, shuffled inside each layer, so that each keeps as many weights.
                      Frankle et al., Pruning neural networks at initialization: why are we missing the mark?,
                      arXiv 2009.08576, saw other methods lose nothing by that
"""

from __future__ import annotations

from dataclasses import replace

import torch

from wavesim.errors import WavesimError
from wavesim.pruning.features import features
from wavesim.pruning.method import Method
from wavesim.pruning.parts import equal_shares
from wavesim.pruning.regressor import read_regressor
from wavesim.pruning.run import Run
from wavesim.pruning.scores import Scores


def by_the_regressor(run: Run) -> Scores:
    """Lifetimes, between 0 and 1, that the regressor expects of the weights where restarts begin.

    Raises:
        WavesimError: no regressor, no beginning, a restart from somewhere else, or one from before any step.
    """
    settings = run.settings
    if settings.restart != "rewind":
        raise WavesimError(
            f"method '{settings.method}' prunes before training, and restart = '{settings.restart}' keeps trained "
            "weights; set restart = 'rewind'"
        )
    if settings.regressor is None:
        raise WavesimError(
            f"method '{settings.method}' needs a regressor: set it to a file that `wavesim learn-pruning` made"
        )
    if settings.rewind_to == 0:
        raise WavesimError(
            f"method '{settings.method}' scores weights by their gradients, and with rewind_to 0 these are zero in all "
            "layers but the last, which starts at zero; set rewind_to to 1 or more"
        )
    regressor, _ = read_regressor(settings.regressor)
    return {name: regressor.scores(values) for name, values in features(run).items()}


def shuffled(run: Run) -> Scores:
    """The same scores in each layer, in the order of this round's own draw."""
    rng, scores = run.generator("shuffled scores"), by_the_regressor(run)
    return {
        name: values.flatten()[torch.randperm(values.numel(), generator=rng)].reshape(values.shape)
        for name, values in scores.items()
    }


AUTOSPARSE = Method("autosparse", "arXiv 2408.14757", score=by_the_regressor, quota=equal_shares, restart="rewind")
AUTOSPARSE_SHUFFLED = replace(
    AUTOSPARSE, name="autosparse-shuffled", reference="control of arXiv 2408.14757", score=shuffled
)
