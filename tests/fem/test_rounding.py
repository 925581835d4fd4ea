"""Coefficients in single precision: constants stay, and so does the speed of long waves."""

import numpy as np
import pytest

from wavesim.fem import Nodes, assemble, rounding, uniform

CASES = {degree: Nodes((elements, elements), degree) for degree, elements in ((1, 32), (2, 16), (4, 10), (6, 7))}


@pytest.mark.parametrize("degree", CASES)
def test_rows_annihilate_constants_exactly(degree):
    operator = assemble(uniform(), CASES[degree], 1.0, (8, 8)).operator
    rounded = rounding.single(operator.stepping, operator.mass)
    ones = np.ones(operator.mass.size, np.float32)
    assert rounded.dtype == np.float32 and not np.any(rounded @ ones)


@pytest.mark.parametrize("degree", CASES)
@pytest.mark.parametrize("waves", [(1, 0), (0, 1), (1, 1), (2, 1)])
def test_long_waves_keep_their_speed(degree, waves):
    problem = assemble(uniform(), CASES[degree], 1.0, (8, 8))
    exact, mass = problem.operator.stepping, problem.operator.mass
    mode = problem.at_unknowns(lambda x, y: np.cos(np.pi * waves[0] * x) * np.cos(np.pi * waves[1] * y))

    def squared_speed(matrix):
        return (mass * mode) @ (matrix.astype(float) @ mode)

    assert abs(squared_speed(rounding.single(exact, mass)) / squared_speed(exact) - 1) < 2e-7
