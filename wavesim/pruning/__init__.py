"""Making a forecaster smaller: measure how sparse it is, cut what the measure allows, retrain, again."""

from wavesim.pruning.compress import prune
from wavesim.pruning.materialise import materialise
from wavesim.pruning.methods import METHODS
from wavesim.pruning.pq_index import pq_index

__all__ = ["METHODS", "materialise", "pq_index", "prune"]
