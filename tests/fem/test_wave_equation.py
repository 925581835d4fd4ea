"""The solver against exact solutions: standing modes in uniform, smooth and layered media, in space and in time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.sparse import diags
from scipy.sparse.linalg import eigsh

from wavesim.fem import StandingMode, _dolfinx, stepper
from wavesim.fem.sampling import Nodes, cell_centres, point_values


def mesh(nodes):
    space = _dolfinx.space(nodes)
    return space, nodes.x[None, :], nodes.y[:, None]


def errors_of(mode, nodes, time, steps):
    """Relative L2 errors of p and p_t at `time`, over many points that are no nodes; p and p_t start at time 0.3."""
    space, x, y = mesh(nodes)
    one = np.ones(nodes.shape)
    operator = stepper.operator(space.stiffness(one), space.mass(one), time, steps)
    state = stepper.init(operator, mode.pressure(x, y, 0.3).ravel(), mode.rate(x, y, 0.3).ravel())
    frame = stepper.frame(operator, stepper.advance(operator, state))
    rows, columns = 83, 97
    points = point_values(nodes, (rows, columns))
    x, y = cell_centres(columns, nodes.lengths[0])[None, :], cell_centres(rows, nodes.lengths[1])[:, None]

    def error(field, exact):
        return np.linalg.norm(points @ field - exact.ravel()) / np.linalg.norm(exact)

    return (
        error(frame.pressure, mode.pressure(x, y, 0.3 + time)),
        error(frame.pressure_rate, mode.rate(x, y, 0.3 + time)),
    )


@pytest.mark.parametrize(
    ("degree", "elements", "level"),
    [(1, (16, 32, 64), 2e-2), (2, (8, 16, 32), 2e-4), (3, (4, 8, 16), 3e-5), (4, (3, 6, 12), 3e-6)],
)
def test_error_falls_with_the_order_of_the_elements(degree, elements, level):
    mode = StandingMode((2, 1), lengths=(1.2, 0.9))
    # 0.8 periods: where the cosine is neither flat nor zero, so that phase errors show in full.
    time = 0.8 * 2 * np.pi / mode.frequency
    errors = np.array([errors_of(mode, Nodes((n, n), degree, (1.2, 0.9)), time, 120) for n in elements])
    slopes = np.log2(errors[:-1] / errors[1:]).mean(axis=0)
    assert np.all(slopes > degree + 1 - 0.3), errors
    assert np.all(errors[-1] < level), errors


@pytest.mark.parametrize(("order", "level"), [(2, 2e-5), (4, 1e-10)])
def test_error_falls_with_the_order_of_the_stepper(order, level):
    mode = StandingMode((2, 1))
    nodes = Nodes((8, 8), 8)  # its own error is below that of any step here
    space, x, y = mesh(nodes)
    one, time = np.ones(nodes.shape), 0.8 * 2 * np.pi / mode.frequency
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
        g = 1 + a * np.cos(np.pi * x) ** 2 + 0 * y
        compressibility = np.pi**2 * (1 + a - 3 * a * np.sin(np.pi * x) ** 2 + 4 * g) / omega**2
        stiffness, mass = space.stiffness(1 / g), space.mass(1 / compressibility)
        mode = np.cos(np.pi * x) * np.cos(2 * np.pi * y)
        operator = stepper.operator(stiffness, mass, 0.7, steps=480)
        frame = stepper.frame(operator, stepper.advance(operator, stepper.init(operator, mode.ravel())))
        exact = mode * np.cos(omega * 0.7), -omega * mode * np.sin(omega * 0.7)
        got = frame.pressure, frame.pressure_rate
        errors.append([np.linalg.norm(f - e.ravel()) / np.linalg.norm(e) for f, e in zip(got, exact, strict=True)])
    assert np.all(np.log2(np.divide(*errors)) > 4.5), errors
    assert np.all(np.array(errors[-1]) < 1e-7), errors


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
    for elements in (32, 64):
        nodes = Nodes((elements, 1), 4, (1.0, 1.0 / elements))
        space, x, y = mesh(nodes)
        # The interface is a node: it takes the mean of what the weak form averages, 1/kappa and 1/rho.
        share = np.where(np.isclose(x, 0.5), 0.5, x > 0.5) + 0 * y
        stiffness = space.stiffness(1 / (1 + share * (1 / 5.0 - 1)))
        mass = space.mass(1 / (1 + share * (1 / 20.0 - 1)))
        root = diags(1 / np.sqrt(mass))
        eigenvalues = eigsh((root @ stiffness @ root).tocsc(), k=6, sigma=-1.0, return_eigenvectors=False)
        found = np.sqrt(np.sort(eigenvalues)[1:])  # the first is the constant pressure
        errors.append(np.abs(found / exact - 1))
    assert np.all(errors[0] < 2e-2), errors
    assert np.all(errors[1] < 0.6 * errors[0]), errors


def test_a_jump_reflects_and_transmits_what_its_impedances_say():
    # A pulse from the background onto kappa = 20, rho = 5: Z = sqrt(kappa rho) = 10, R = 9/11, T = 1 + R.
    nodes = Nodes((160, 1), 4, (1.0, 1.0 / 160))
    space, x, y = mesh(nodes)
    share = np.where(np.isclose(x, 0.5), 0.5, x > 0.5) + 0 * y
    stiffness = space.stiffness(1 / (1 + share * (1 / 5.0 - 1)))
    operator = stepper.operator(stiffness, space.mass(1 / (1 + share * (1 / 20.0 - 1))), 0.32)
    width = 0.03
    right_going = np.exp(-((x - 0.3) ** 2) / (2 * width**2)) + 0 * y
    rate = (x - 0.3) / width**2 * right_going
    state = stepper.advance(operator, stepper.init(operator, right_going.ravel(), rate.ravel()))
    line = stepper.frame(operator, state).pressure.reshape(nodes.shape)[0]
    assert line[nodes.x < 0.5].max() == pytest.approx(9 / 11, rel=5e-3)
    assert line[nodes.x > 0.5].max() == pytest.approx(20 / 11, rel=5e-3)
    assert nodes.x[nodes.x < 0.5][line[nodes.x < 0.5].argmax()] == pytest.approx(0.38, abs=5e-3)
    assert nodes.x[line.argmax()] == pytest.approx(0.5 + 2 * 0.12, abs=5e-3)
