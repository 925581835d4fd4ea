"""Making a forecaster smaller: measure how sparse it is, cut what the measure allows, retrain, again."""

from wavesim.pruning.loop import prune, trainings_of
from wavesim.pruning.materialise import materialise
from wavesim.pruning.methods import METHODS
from wavesim.pruning.pq_index import pq_index

__all__ = ["METHODS", "materialise", "pq_index", "prune", "trainings_of"]
