"""How far a forecast is from the truth: pure functions of arrays, a file for each idea.

fields      errors of a field, frame by frame: relative L2 (the headline), mass norm, VRMSE, correlation, rounding
energy      the energy norm of the error, and the energy's drift        bands       long, middle and short waves
receivers   traces at a few places, and how late they are               misfits     their envelope and their phase
symmetries  what the exact solution has: superposition, scaling, reciprocity
"""

from wavesim.metrics.bands import BANDS, LIMITS, band_errors, band_squares
from wavesim.metrics.energy import energy, energy_drift, energy_norm_error
from wavesim.metrics.fields import (
    WINDOWS,
    correlation,
    correlation_time,
    one_crossing,
    relative_l2,
    rounding,
    vrmse,
    windowed,
)
from wavesim.metrics.misfits import envelope_and_phase_misfit
from wavesim.metrics.receivers import PLACES, arrival_lag, traces
from wavesim.metrics.symmetries import bump, homogeneity_defect, reciprocity_defect, superposition_defect

__all__ = [
    "BANDS",
    "LIMITS",
    "PLACES",
    "WINDOWS",
    "arrival_lag",
    "band_errors",
    "band_squares",
    "bump",
    "correlation",
    "correlation_time",
    "energy",
    "energy_drift",
    "energy_norm_error",
    "envelope_and_phase_misfit",
    "homogeneity_defect",
    "one_crossing",
    "reciprocity_defect",
    "relative_l2",
    "rounding",
    "superposition_defect",
    "traces",
    "vrmse",
    "windowed",
]
