"""The presets: from a generator to the medium and the pulse of one trajectory, `draw(config, random)`.

Whatever is drawn is a function of the generator's state and of the settings alone. A pulse starts at rest, anywhere in
the domain that is at least three widths away from its sides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wavesim.fem import medium
from wavesim.fem.media import Mixtures, layered, luneburg, of_speed, random_field
from wavesim.fem.media.graded import luneburg_index_squared
from wavesim.fem.medium import Medium
from wavesim.fem.source import Pulse, random_pulse
from wavesim.preset_config import (
    CavityConfig,
    LayersConfig,
    LensConfig,
    PresetConfig,
    RandomConfig,
    ResolvedConfig,
)


def cavity(config: CavityConfig, generator: np.random.Generator) -> Medium:
    """One bulk modulus everywhere."""
    return medium.uniform(*_evenly_in_log(config.bulk_moduli, generator, 1))


def layers(config: LayersConfig, generator: np.random.Generator) -> Medium:
    """Layers along x whose thicknesses have the shares of evenly drawn places, none thinner than two interfaces."""
    number = int(generator.integers(config.layers[0], config.layers[1] + 1))
    least = min(2 * config.interface_width, config.lengths[0] / number)
    free = config.lengths[0] - number * least
    cuts = np.sort(generator.uniform(0, free, number - 1)) + least * np.arange(1, number)
    bulk_moduli = _evenly_in_log(config.bulk_moduli, generator, number)
    densities = _evenly_in_log(config.densities, generator, number)
    return layered(list(cuts), bulk_moduli, densities, "x", config.interface_width)


def random(config: RandomConfig, generator: np.random.Generator) -> Medium:
    """A realisation of the random field."""
    return random_field(
        generator, config.correlation_length, config.contrast, limit=config.limit, lengths=config.lengths
    )


def lens(config: LensConfig, generator: np.random.Generator) -> Medium:
    """A Luneburg lens that lies within the domain, of a speed as such or of granular mixtures."""
    radius = float(generator.uniform(*config.radii))
    x, y = (float(place) for place in generator.uniform(radius, np.array(config.lengths) - radius))
    if config.mixture is None:
        return luneburg((x, y), radius)
    square = luneburg_index_squared((x, y), radius)
    mixtures = Mixtures(config.mixture.size_ratio, *np.array(config.mixture.points).T)
    return of_speed(mixtures, lambda x, y: square(x, y) ** -0.5)


PRESETS: dict[str, Callable[[Any, np.random.Generator], Medium]] = {
    "cavity": cavity,
    "layers": layers,
    "random": random,
    "lens": lens,
}


def draw(config: PresetConfig, generator: np.random.Generator) -> tuple[Medium, Pulse]:
    """The medium and the pulse of one trajectory."""
    through = PRESETS[config.preset](config, generator)
    return through, random_pulse(config.pulse_width, generator, lengths=config.lengths)


def draw_grains(config: ResolvedConfig, generator: np.random.Generator) -> ResolvedConfig:
    """The settings with the bulk modulus and the density of one packing's grains, where they are drawn."""
    ranges = {"bulk_modulus": config.bulk_moduli, "density": config.densities}
    drawn = {name: _evenly_in_log(pair, generator, 1)[0] for name, pair in ranges.items() if pair is not None}
    return config.model_copy(update=drawn)


def _evenly_in_log(between: tuple[float, float], generator: np.random.Generator, number: int) -> list[float]:
    low, high = np.log(between)
    return [float(value) for value in np.exp(generator.uniform(low, high, number))]
