"""Settings of the small forecasters that the tests of pruning share."""

from wavesim.config import TrainingConfig

TRAINING = TrainingConfig(unrolls=(1, 2), shares=(0.5, 0.5), iterations=16, batch=2, learning_rate=4e-3)
SMALL = {"width": 16, "kernel_size": 3, "ranks": (8, 8), "encoder_width": 8, "encoder_ranks": (4, 6), "substeps": 2}
