"""What holds for every medium: positive and finite values, of the shape that the points broadcast to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays, mutually_broadcastable_shapes

from wavesim.fem import media
from wavesim.provenance import generator

STIFF = {"bulk_modulus": 20.0, "density": 0.1}
VALUES = np.random.default_rng(0).uniform(0.5, 2, (9, 7))
MEDIA = {
    "sharp layers": media.layered([0.2, 0.5], [1, 20, 0.01], [1, 5, 0.3]),
    "tilted layers": media.layered([0.2, 0.21], [1, 1e6, 1e-6], [1, 5, 0.3], 0.4, interface_width=0.1),
    "random": media.random_field(generator(0), 0.2, 3.0, density_contrast=1.0),
    "rough": media.random_field(generator(1), 0.5, 1.0, "exponential", limit=2.0),
    "shapes": media.inclusions(
        [
            media.Circle((0.3, 0.3), 0.2, **STIFF),
            media.Ellipse((0.5, 0.5), (0.3, 0.1), 0.4, **STIFF, interface_width=0.05),
            media.Rectangle((0.7, 0.2), (0.1, 0.3), 0.1, **STIFF),
            media.Polygon([(0, 0), (1, 0.1), (0.2, 0.9)], **STIFF, interface_width=0.01),
        ],
        media.luneburg(),
    ),
    "lens": media.luneburg((0.4, 0.6), 0.3),
    "image": media.graded(media.image(VALUES), media.image(VALUES[:, ::-1], order=3)),
    "function": media.from_modulus(lambda x, y: 1 + x**2, lambda x, y: np.exp(y)),
}


@st.composite
def points(draw):
    """x and y in [-1, 2] whose shapes broadcast, and their common shape."""
    shapes = draw(mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=5))
    numbers = st.floats(-1, 2, width=32)
    x, y = (draw(arrays(np.float64, shape, elements=numbers)) for shape in shapes.input_shapes)
    return x, y, shapes.result_shape


@pytest.mark.parametrize("name", MEDIA)
@given(points=points())
def test_values_are_positive_and_those_of_the_single_points(name, points):
    x, y, shape = points
    for field in (MEDIA[name].bulk_modulus, MEDIA[name].density):
        values = field(x, y)
        assert np.shape(values) == shape and np.asarray(values).dtype == np.float64
        assert np.all(values > 0) and np.all(values < np.inf)
        single = [np.asarray(field(np.array([a]), np.array([b]))).item() for a, b in np.broadcast(x, y)]
        np.testing.assert_allclose(np.ravel(values), single, rtol=1e-10)


@pytest.mark.parametrize("name", MEDIA)
def test_values_can_be_written_without_changing_the_medium(name):
    x, y = np.linspace(0, 1, 6)[None, :], np.linspace(0, 1, 4)[:, None]
    for field in (MEDIA[name].bulk_modulus, MEDIA[name].density):
        values = field(x, y)
        before = values.copy()
        values *= 2
        np.testing.assert_array_equal(field(x, y), before)


@given(st.integers(0, 2**32), st.floats(0.05, 5), st.floats(0, 3), st.sampled_from(["gaussian", "exponential"]))
def test_random_media_are_positive_whatever_their_settings(seed, length, contrast, covariance):
    medium = media.random_field(generator(seed), length, contrast, covariance, density_contrast=contrast)
    cells = medium.cells((16, 16), parts=2)
    assert cells.shape == (2, 16, 16) and np.all(cells > 0) and np.all(np.isfinite(cells))
