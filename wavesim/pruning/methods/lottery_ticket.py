"""The lottery ticket: the smallest weights go in rounds of equal shares, and what is left starts again.

    density after round t = (1 - share)^t, or density^(t/T) where a final density is given
Frankle and Carbin, The lottery ticket hypothesis, ICLR 2019, arXiv 1803.03635: from the initial weights; with
rewind_to = k from those after k steps, arXiv 1903.01611. With restart = "fine-tune" it is iterative magnitude pruning
as of Han et al., arXiv 1506.02626.
"""

from __future__ import annotations

from wavesim.pruning.method import Method
from wavesim.pruning.parts import equal_shares, of_the_weights

LOTTERY_TICKET = Method(
    "lottery-ticket", "arXiv 1803.03635", score=of_the_weights, quota=equal_shares, restart="rewind", rounds=4
)
