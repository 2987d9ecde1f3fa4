# SPDX-License-Identifier: Apache-2.0
"""The same functions on NumPy as on torch; what they should say is tested with the network (test/network)."""

import numpy as np
import pytest

from da3_ros.geometry.gaussians import pose_scale, raw_channels, world_gaussians, worth_keeping
from da3_ros.geometry.harmonics import harmonic_basis, rotate_harmonics
from da3_ros.geometry.poses import from_rotation_translation, invert, matrix_from_quaternion

torch = pytest.importorskip("torch")

FIELDS = ("means", "scales", "rotations", "harmonics", "opacities")


def both(*arrays):
    return arrays, [torch.from_numpy(a) for a in arrays]


def cameras(rng, *shape):
    return from_rotation_translation(matrix_from_quaternion(rng.normal(size=(*shape, 4))), rng.normal(size=(*shape, 3)))


def test_gaussians():
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(2, 3, 8, 10, raw_channels(2))) * 3
    raw[..., 2] = -1e4  # no overflow
    k = np.tile([[40.0, 0, 5], [0, 50, 4], [0, 0, 1]], (2, 3, 1, 1))
    inputs = (raw, rng.random((2, 3, 8, 10)), rng.random((2, 3, 8, 10)) + 20, cameras(rng, 2, 3), k)
    ours, theirs = (world_gaussians(*x) for x in both(*inputs))
    for name in FIELDS:
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name).numpy(), rtol=1e-9, atol=1e-11)
    assert (ours.scales > 0).all()
    alone = world_gaussians(*(x[1] for x in inputs))  # any leading axes
    np.testing.assert_allclose(alone.means, ours.means[1], rtol=1e-9)


def test_what_is_worth_keeping():
    depth = np.random.default_rng(0).random((2, 64, 96))
    depth[0, 20, 20] = np.nan
    sky = np.zeros(depth.shape, bool)
    sky[1, 30:] = True
    (ours, theirs) = (worth_keeping(*x) for x in both(depth, sky))
    np.testing.assert_array_equal(ours, theirs.numpy())
    assert 0 < ours[0].sum() < ours[0].size
    assert not ours[0, 20, 20]
    assert not ours[1, 30:].any()
    assert not worth_keeping(np.full((1, 9, 9), np.nan)).any()


@pytest.mark.parametrize("known", [None, np.array([[True, True, True, False]] * 2)])
def test_scale_of_poses(known):
    rng = np.random.default_rng(0)
    source = cameras(rng, 2, 4)
    target = source.copy()
    target[..., :3, 3] *= 2
    target[:, 3, :3, 3] += 0 if known is None else 100
    masks = [()] * 2 if known is None else [(m,) for m in (known, torch.from_numpy(known))]
    for arrays, mask in zip(both(invert(source), invert(target)), masks, strict=True):
        np.testing.assert_allclose(np.asarray(pose_scale(*arrays, *mask)), 2.0, rtol=1e-6)


def test_harmonics():
    rng = np.random.default_rng(0)
    rotation, harmonics = matrix_from_quaternion(rng.normal(size=(5, 4))), rng.normal(size=(5, 3, 9))
    ours, theirs = (rotate_harmonics(*x) for x in both(harmonics, rotation))
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match="0 to 3"):
        harmonic_basis(np.ones((1, 3)), 4)
