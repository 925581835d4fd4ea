"""The solver against exact solutions: standing modes in uniform, smooth and layered media, in space and in time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.sparse import diags
from scipy.sparse.linalg import eigsh

from wavesim.fem import StandingMode, _dolfinx, stepper
from wavesim.fem.sampling import Nodes


def mesh(nodes):
    space = _dolfinx.space(nodes)
    return space, nodes.x[None, :], nodes.y[:, None]


def ones(space):
    return np.ones(space.weights.size)


def errors_of(mode, nodes, time, steps):
    """Relative L2 errors of p and p_t at `time`, integrated by more Gauss points than the elements have nodes.

    At the nodes alone the error is smaller than it is (superconvergence). p and p_t start at time 0.3.
    """
    space, x, y = mesh(nodes)
    one = ones(space)
    operator = stepper.operator(space.stiffness(one), space.mass(one), time, steps)
    state = stepper.init(operator, mode.pressure(x, y, 0.3).ravel(), mode.rate(x, y, 0.3).ravel())
    frame = stepper.frame(operator, stepper.advance(operator, state))
    points, weights = np.polynomial.legendre.leggauss(nodes.degree + 3)
    lines = [
        ((np.arange(n)[:, None] + (points + 1) / 2) * (length / n)).ravel()
        for n, length in zip(nodes.elements, nodes.lengths, strict=True)
    ]
    x, y = np.meshgrid(*lines)
    weight = np.outer(np.tile(weights, nodes.elements[1]), np.tile(weights, nodes.elements[0]))
    values = space.at(np.column_stack([x.ravel(), y.ravel()]))

    def error(field, exact):
        square = np.sum(weight * ((values @ field).reshape(x.shape) - exact) ** 2)
        return np.sqrt(square / np.sum(weight * exact**2))

    return (
        error(frame.pressure, mode.pressure(x, y, 0.3 + time)),
        error(frame.pressure_rate, mode.rate(x, y, 0.3 + time)),
    )


@pytest.mark.parametrize(
    ("degree", "elements", "level"),
    [
        (1, (16, 32, 64), 2e-2),
        (2, (8, 16, 32), 2e-4),
        (3, (4, 8, 16), 3e-5),
        (4, (3, 6, 12), 3e-6),
        (5, (3, 6, 12), 1e-7),
        (6, (2, 4, 8), 1e-7),
    ],
)
def test_error_falls_with_the_order_of_the_elements(degree, elements, level):
    mode = StandingMode((2, 1), lengths=(1.2, 0.9))
    # 0.8 periods: where the cosine is neither flat nor zero, so that phase errors show in full.
    time = 0.8 * 2 * np.pi / mode.frequency
    steps = 120 if degree < 5 else 300  # the steps' own error is below that of the elements
    errors = np.array([errors_of(mode, Nodes((n, n), degree, (1.2, 0.9)), time, steps) for n in elements])
    slopes = np.log2(errors[:-1] / errors[1:]).mean(axis=0)
    assert np.all(slopes > degree + 1 - 0.3), errors
    assert np.all(errors[-1] < level), errors


@pytest.mark.parametrize(("order", "level"), [(2, 2e-5), (4, 1e-10)])
def test_error_falls_with_the_order_of_the_stepper(order, level):
    mode = StandingMode((2, 1))
    nodes = Nodes((8, 8), 8)  # its own error is below that of any step here
    space, x, y = mesh(nodes)
    one, time = ones(space), 0.8 * 2 * np.pi / mode.frequency
    errors = []
    for steps in (200, 400):
        operator = stepper.operator(space.stiffness(one), space.mass(one), time, steps, order)
        state = stepper.init(operator, mode.pressure(x, y, 0.3).ravel(), mode.rate(x, y, 0.3).ravel())
        frame = stepper.frame(operator, stepper.advance(operator, state))
        exact = mode.pressure(x, y, 0.3 + time).ravel(), mode.rate(x, y, 0.3 + time).ravel()
        pairs = zip((frame.pressure, frame.pressure_rate), exact, strict=True)
        errors.append([np.linalg.norm(got - want) / np.linalg.norm(want) for got, want in pairs])
    slopes = np.log2(np.divide(*errors))
    assert np.all(np.abs(slopes - order) < 0.2), errors
    assert errors[-1][0] < level and errors[-1][1] < 10 * level, errors


def test_variable_bulk_modulus_and_density_have_their_exact_mode():
    # For p = cos(pi x) cos(2 pi y) cos(omega t) and 1/rho = g(x) = 1 + a cos^2(pi x), inserting p gives
    # 1/kappa = pi^2 (1 + a - 3 a sin^2(pi x) + 4 g) / omega^2: both coefficients vary, and differently.
    a, omega = 0.4, 7.0
    errors = []
    for elements in (8, 16):
        nodes = Nodes((elements, 2 * elements), 4)
        space, x, y = mesh(nodes)

        def g(x, y):
            return 1 + a * np.cos(np.pi * x) ** 2 + 0 * y

        def compressibility(x, y):
            return np.pi**2 * (1 + a - 3 * a * np.sin(np.pi * x) ** 2 + 4 * g(x, y)) / omega**2

        stiffness = space.stiffness(1 / space.evaluate(g))
        mass = space.mass(1 / space.evaluate(compressibility))
        mode = np.cos(np.pi * x) * np.cos(2 * np.pi * y)
        operator = stepper.operator(stiffness, mass, 0.7, steps=480)
        frame = stepper.frame(operator, stepper.advance(operator, stepper.init(operator, mode.ravel())))
        exact = mode * np.cos(omega * 0.7), -omega * mode * np.sin(omega * 0.7)
        got = frame.pressure, frame.pressure_rate
        errors.append([np.linalg.norm(f - e.ravel()) / np.linalg.norm(e) for f, e in zip(got, exact, strict=True)])
    assert np.all(np.log2(np.divide(*errors)) > 4.5), errors
    assert np.all(np.array(errors[-1]) < 1e-7), errors


def jump(value):
    """1 left of the middle, `value` right of it."""
    return lambda x, y: np.where(x > 0.5, value, 1.0) + 0 * y


def layered_frequencies(count, bulk_modulus, density, place):
    """Exact frequencies of standing waves in a background and, right of `place`, a layer: the dispersion relation's.

    p = cos(omega x) and B cos(omega (1 - x) / c): continuity of p and of p_x / rho at the interface.
    """
    speed = np.sqrt(bulk_modulus / density)

    def mismatch(omega):
        left, right = omega * place, omega * (1 - place) / speed
        impedance = density * speed
        return np.sin(left) * np.cos(right) + np.cos(left) * np.sin(right) / impedance

    omegas = np.linspace(1e-3, 40, 8001)
    values = mismatch(omegas)
    changes = np.flatnonzero(values[:-1] * values[1:] < 0)[:count]
    return np.array([brentq(mismatch, omegas[i], omegas[i + 1]) for i in changes])


def test_a_jump_in_both_coefficients_gives_the_layered_dispersion_relation():
    exact = layered_frequencies(5, bulk_modulus=20.0, density=5.0, place=0.5)
    errors = []
    for elements in (8, 16):
        nodes = Nodes((elements, 1), 4, (1.0, 1.0 / elements))
        space = _dolfinx.space(nodes)
        stiffness, mass = space.stiffness(space.evaluate(jump(5.0))), space.mass(space.evaluate(jump(20.0)))
        root = diags(1 / np.sqrt(mass))
        eigenvalues = eigsh((root @ stiffness @ root).tocsc(), k=6, sigma=-1.0, return_eigenvectors=False)
        found = np.sqrt(np.sort(eigenvalues)[1:])  # the first is the constant pressure
        errors.append(np.abs(found / exact - 1)[-1])
    # An interface between two elements costs nothing: eigenvalues converge with twice the degree.
    assert np.log2(np.divide(*errors)) > 7.5, errors
    assert errors[-1] < 5e-8, errors


def test_a_jump_reflects_and_transmits_what_its_impedances_say():
    # A pulse from the background onto kappa = 20, rho = 5: Z = sqrt(kappa rho) = 10, R = 9/11, T = 1 + R.
    nodes = Nodes((160, 1), 4, (1.0, 1.0 / 160))
    space, x, y = mesh(nodes)
    stiffness, mass = space.stiffness(space.evaluate(jump(5.0))), space.mass(space.evaluate(jump(20.0)))
    operator = stepper.operator(stiffness, mass, 0.32)
    width = 0.03
    right_going = np.exp(-((x - 0.3) ** 2) / (2 * width**2)) + 0 * y
    rate = (x - 0.3) / width**2 * right_going
    state = stepper.advance(operator, stepper.init(operator, right_going.ravel(), rate.ravel()))
    line = stepper.frame(operator, state).pressure.reshape(nodes.shape)[0]
    assert line[nodes.x < 0.5].max() == pytest.approx(9 / 11, rel=5e-3)
    assert line[nodes.x > 0.5].max() == pytest.approx(20 / 11, rel=5e-3)
    assert nodes.x[nodes.x < 0.5][line[nodes.x < 0.5].argmax()] == pytest.approx(0.38, abs=5e-3)
    assert nodes.x[line.argmax()] == pytest.approx(0.5 + 2 * 0.12, abs=5e-3)
