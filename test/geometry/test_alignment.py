# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from da3_ros.geometry import AlignmentError, align_scale_shift, umeyama
from da3_ros.geometry.poses import matrix_from_quaternion


def depths(outliers: float, seed: int = 0):
    rng = np.random.default_rng(seed)
    relative = rng.uniform(0.5, 3, 2000)
    metric = (2.5 * relative + 0.3) * (1 + rng.normal(0, 0.01, 2000))
    wrong = rng.random(2000) < outliers
    metric[wrong] = rng.uniform(0.5, 20, wrong.sum())
    return relative, metric


@pytest.mark.parametrize("outliers", [0.0, 0.2, 0.4])
def test_scale_and_shift_come_back(outliers):
    fit = align_scale_shift(*depths(outliers))
    assert fit.scale == pytest.approx(2.5, rel=0.01)
    assert fit.shift == pytest.approx(0.3, abs=0.02)
    assert fit.residual < 0.02


def test_without_shift_only_the_scale_is_fitted():
    relative, _ = depths(0)
    fit = align_scale_shift(relative, 1.7 * relative, fit_shift=False)
    assert (fit.scale, fit.shift) == (pytest.approx(1.7), 0.0)


def test_the_same_data_give_the_same_result():
    assert align_scale_shift(*depths(0.3)).scale == align_scale_shift(*depths(0.3)).scale


def test_masked_and_invalid_samples_do_not_count():
    relative, metric = depths(0)
    metric[:500] = np.nan
    mask = np.ones(2000, bool)
    mask[500:1000] = False
    metric[500:1000] = 1000.0
    fit = align_scale_shift(relative, metric, mask)
    assert fit.scale == pytest.approx(2.5, rel=0.01)
    assert fit.inliers.shape == (1000,)


def test_too_few_samples_are_refused():
    with pytest.raises(AlignmentError, match="too few"):
        align_scale_shift(np.ones(5), np.ones(5))


def test_a_falling_relation_is_refused():
    x = np.linspace(1, 2, 50)
    with pytest.raises(AlignmentError):
        align_scale_shift(x, 3 - x)


def test_umeyama_recovers_a_similarity():
    rng = np.random.default_rng(0)
    rotation = matrix_from_quaternion(rng.normal(size=4))
    source = rng.normal(size=(20, 3))
    target = 1.7 * source @ rotation.T + [1, 2, 3]
    scale, r, t = umeyama(source, target)
    assert scale == pytest.approx(1.7)
    np.testing.assert_allclose(r, rotation, atol=1e-9)
    np.testing.assert_allclose(t, [1, 2, 3], atol=1e-9)


@pytest.mark.parametrize("source", [np.zeros((2, 3)), np.outer(np.arange(5.0), [1, 2, 3])])
def test_umeyama_says_when_the_rotation_is_open(source):
    with pytest.raises(AlignmentError):
        umeyama(source, source)
