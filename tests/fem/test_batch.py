"""Media that share K are stepped together, with absorbing sides too: each as it would be alone."""

from __future__ import annotations

import numpy as np
import pytest

from wavesim.fem import Medium, Pulse, simulate
from wavesim.fem.batch import assemble_batch, simulate_all
from wavesim.preset_config import RandomConfig

CONFIG = RandomConfig(
    lengths=(1.5, 1.0), grid=(24, 16), elements=(9, 6), frames=16, frame_interval=0.05, pulse_width=0.1, layer=2
)
PULSES = [Pulse((0.9, 0.4), 0.1), Pulse((0.5, 0.6), 0.08), Pulse((0.7, 0.5), 0.12)]
EVEN, UNEVEN = (lambda x, y: 1 + 0 * x), (lambda x, y: 1 + 0.4 * np.sin(3 * x) * np.cos(2 * y))


def media(density):
    """Faster at the sides in one than in another, so that each needs a layer of its own strength."""
    return [Medium(lambda x, y, k=k: 1 + 0.6 * k + 0.3 * np.sin(4 * x + k) * np.cos(5 * y), density) for k in range(3)]


@pytest.mark.parametrize("density", [EVEN, UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize("sides", [("absorbing",) * 4, ("absorbing", "soft", "periodic", "periodic"), ("rigid",) * 4])
def test_a_batch_runs_as_each_of_its_media_does_alone(sides, density):
    config = CONFIG.model_copy(update={"sides": sides})
    assert assemble_batch(config, media(density)) is not None
    together = simulate_all(config, media(density), PULSES)
    for medium, pulse, run in zip(media(density), PULSES, together, strict=True):
        alone = simulate(config, medium, pulse, steps=run.steps_per_frame)
        assert np.abs(run.pressure - alone.pressure).max() < 5e-6
        assert np.abs(run.pressure_rate - alone.pressure_rate).max() < 5e-6 * np.abs(alone.pressure_rate).max()
        np.testing.assert_allclose(run.energy, alone.energy, rtol=1e-5, atol=1e-6 * alone.energy[0])


def test_media_of_different_density_do_not_share_k():
    assert assemble_batch(CONFIG, [media(EVEN)[0], media(UNEVEN)[1]]) is None
