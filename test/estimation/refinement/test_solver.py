# SPDX-License-Identifier: Apache-2.0
"""The field's solver against SciPy's direct one, on images whose surfaces are cut apart."""

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import spsolve

from da3_ros.estimation.refinement.solver import CELL, LAYER, Field, _groups

CUT = 1e-3
"""Strength of a link across an edge, as `fusion` has it."""


def matrix(weight, across, down):
    """d - div(g grad) as a sparse matrix, made the plain way."""
    h, w = weight.shape
    number = np.arange(h * w).reshape(h, w)
    a = np.concatenate([number[:, :-1].ravel(), number[:-1].ravel()])
    b = np.concatenate([number[:, 1:].ravel(), number[1:].ravel()])
    g = np.concatenate([across.ravel(), down.ravel()]).astype(float)
    laplacian = sparse.coo_matrix(
        (np.concatenate([g, g, -g, -g]), (np.concatenate([a, b, a, b]), np.concatenate([a, b, b, a]))), (h * w, h * w)
    )
    return (laplacian + sparse.diags(weight.ravel().astype(float))).tocsc()


def problem(h, w, seed, evidence=0.05):
    """Two surfaces at random depths with cut links between them, a few weights, and the field that solves it."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(0, 1, w), np.linspace(0, 1, h))
    near = (x - 0.5) ** 2 + (y - 0.4) ** 2 < 0.1
    log_depth = (0.3 * np.sin(4 * x + seed) + np.where(near, -0.8, 0)).astype(np.float32)
    links = []
    for axis in (1, 0):
        g = rng.uniform(0.2, 1, np.diff(log_depth, axis=axis).shape).astype(np.float32)
        g[np.diff(near.astype(int), axis=axis) != 0] = CUT
        links.append(g)
    weight = np.where(rng.random((h, w)) < evidence, rng.uniform(0.1, 5, (h, w)), 1e-5).astype(np.float32)
    value = (weight * np.where(near, 0.4, -0.1) * rng.uniform(0.5, 1.5, (h, w))).astype(np.float32)
    system = matrix(weight, *links)
    truth = spsolve(system, value.ravel().astype(float)).reshape(h, w)
    return Field(log_depth, *links), weight, value, system, truth


def off(found, truth, system):
    """Error against the solution, in the norm of the problem."""
    error, whole = (found - truth).ravel().astype(float), truth.ravel()
    return np.sqrt(error @ (system @ error) / (whole @ (system @ whole)))


@pytest.mark.parametrize(("h", "w", "seed"), [(40, 60, 0), (61, 37, 1), (9, 100, 2), (64, 64, 3), (8, 8, 4)])
def test_it_is_what_a_direct_solver_finds(h, w, seed):
    field, weight, value, system, truth = problem(h, w, seed)
    found = field.solve(weight, value, accuracy=1e-5, most=400)
    assert found.shape == (h, w)
    assert found.dtype == np.float32
    assert np.abs(found - truth).max() < 2e-4 * np.abs(truth).max()
    assert off(found, truth, system) < 1e-4


@pytest.mark.parametrize("accuracy", [0.1, 0.02, 0.001])
def test_it_is_as_exact_as_was_asked_for(accuracy):
    field, weight, value, system, truth = problem(60, 80, 5)
    found = off(field.solve(weight, value, accuracy=accuracy, most=400), truth, system)
    assert 0.02 * accuracy < found < 2 * accuracy  # and no work beyond


@pytest.mark.parametrize(("h", "w"), [(40, 40), (80, 120), (196, 252)])
def test_as_many_rounds_do_for_a_large_image(h, w):
    field, weight, value, system, truth = problem(h, w, 6, evidence=0.01)
    assert off(field.solve(weight, value, accuracy=0, most=12), truth, system) < 0.05


def test_a_warm_start_leads_to_the_same_and_sooner():
    field, weight, value, system, truth = problem(60, 80, 7)
    cold = field.solve(weight, value, accuracy=0, most=3)
    start = (truth * 1.02).astype(np.float32)
    warm = field.solve(weight, value, start, accuracy=0, most=3)
    assert off(warm, truth, system) < 0.2 * off(cold, truth, system)
    far = field.solve(weight, value, np.full_like(start, 3), accuracy=1e-5, most=400)
    assert np.abs(far - truth).max() < 5e-4 * np.abs(truth).max()
    np.testing.assert_array_equal(start, (truth * 1.02).astype(np.float32))  # it is the caller's


def test_what_is_solved_already_stays():
    field, weight, value, _, truth = problem(40, 60, 8)
    found = field.solve(weight, value, truth.astype(np.float32))
    assert np.abs(found - truth).max() < 1e-3 * np.abs(truth).max()


def test_other_weights_after_the_first_ones_are_solved_as_well():
    """The upper level is made once: it may lead more slowly then, but to the right end."""
    field, weight, value, _, _ = problem(50, 70, 9)
    field.solve(weight, value)
    later, moved = weight * np.float32(0.3), value * np.float32(0.7)
    again = problem(50, 70, 9)[0].solve(later, moved, accuracy=1e-5, most=400)
    found = field.solve(later, moved, accuracy=1e-5, most=400)
    assert np.abs(found - again).max() < 5e-4 * np.abs(again).max()


def test_a_cut_is_no_bridge():
    """A value on one side of an edge hardly changes the other side; that of the free side is followed everywhere."""
    log_depth = np.zeros((32, 48), np.float32)
    log_depth[:, 24:] = 1
    across, down = np.ones((32, 47), np.float32), np.ones((31, 48), np.float32)
    across[:, 23] = 1e-6
    weight, value = np.full((32, 48), 1e-4, np.float32), np.zeros((32, 48), np.float32)
    weight[16, 10] = 10
    value[16, 10] = 10
    found = Field(log_depth, across, down).solve(weight, value, accuracy=1e-4, most=400)
    assert found[:, :24].min() > 0.9
    assert found[:, 24:].max() < 0.01


def test_a_group_is_a_small_cell_at_about_one_depth():
    rng = np.random.default_rng(0)
    log_depth = rng.uniform(-1, 1, (21, 35)).astype(np.float32)
    group, count = _groups(log_depth)
    assert set(group) == set(range(count))
    rows, columns = np.divmod(np.arange(log_depth.size), log_depth.shape[1])
    for number in range(count):
        own = group == number
        assert np.ptp(log_depth.ravel()[own]) <= LAYER + 1e-6
        assert len(set(rows[own] // CELL)) == len(set(columns[own] // CELL)) == 1
    flat, cells = _groups(np.full((21, 35), 2.5, np.float32))
    assert cells == 3 * 5
    assert len(flat) == 21 * 35
