# SPDX-License-Identifier: Apache-2.0
"""Gaussians, harmonics, clouds and metrics beside the plainest code that says the same, pixel by pixel."""

from needs import needs

needs("scipy")

import itertools

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from da3_ros.geometry.gaussians import (
    BORDER,
    NEAREST,
    SCALE_MAX,
    SCALE_MIN,
    Gaussians,
    pose_scale,
    raw_channels,
    world_gaussians,
    worth_keeping,
)
from da3_ros.geometry.harmonics import DC, harmonic_basis, harmonic_rotation, rotate_harmonics
from da3_ros.geometry.metrics import auc, depth_errors, median_scale, pair_errors
from da3_ros.geometry.points import fuse, unproject, unproject_depth, voxel_downsample
from da3_ros.geometry.poses import from_rotation_translation, invert

HEIGHT, WIDTH = 3, 5


def poses(seed, *shape):
    rng = np.random.default_rng(seed)
    turns = Rotation.random(int(np.prod(shape)), rng).as_matrix().reshape(*shape, 3, 3)
    return from_rotation_translation(turns, rng.normal(size=(*shape, 3)))


@pytest.fixture
def inputs():
    """raw, opacity, depth, T_camera_world, K of two views."""
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(2, HEIGHT, WIDTH, raw_channels(2)))
    k = np.array([[40.0, 0, 2.2], [0, 55, 1.3], [0, 0, 1]])
    return (
        raw,
        rng.random((2, HEIGHT, WIDTH)),
        rng.uniform(2, 9, (2, HEIGHT, WIDTH)),
        poses(1, 2),
        np.tile(k, (2, 1, 1)),
    )


def each_pixel():
    return itertools.product(range(2), range(HEIGHT), range(WIDTH))


def test_channels_of_a_raw_gaussian():
    assert [raw_channels(degree) for degree in range(3)] == [13, 22, 37]


def test_where_gaussians_stand_and_how_large_they_are(inputs):
    raw, _, depth, extrinsics, _ = inputs
    found = world_gaussians(*inputs)
    for s, v, u in each_pixel():
        channels, T_world_camera = raw[s, v, u], np.linalg.inv(extrinsics[s])
        ray = np.array([(u + 0.5 + channels[0] - 2.2) / 40, (v + 0.5 + channels[1] - 1.3) / 55, 1.0])
        along = depth[s, v, u] + channels[-1]
        mean = T_world_camera[:3, :3] @ (ray / np.linalg.norm(ray) * along) + T_world_camera[:3, 3]
        np.testing.assert_allclose(found.means[s, v, u], mean, rtol=1e-9)
        sides = 0.1 * (1 / 40 + 1 / 55) * along
        logistic = 1 / (1 + np.exp(-channels[2:5]))
        np.testing.assert_allclose(found.scales[s, v, u], (SCALE_MIN + (SCALE_MAX - SCALE_MIN) * logistic) * sides)
    assert (SCALE_MIN, SCALE_MAX) == (1e-5, 30.0)
    np.testing.assert_array_equal(found.opacities, inputs[1])


def test_how_gaussians_are_turned(inputs):
    """The head's quaternion, moved on by one place, after the camera's rotation; the last component positive."""
    raw, _, _, extrinsics, _ = inputs
    found = world_gaussians(*inputs)
    for s, v, u in each_pixel():
        x, y, z, w = raw[s, v, u, 5:9]
        camera = Rotation.from_matrix(np.linalg.inv(extrinsics[s])[:3, :3])
        expected = (camera * Rotation.from_quat([w, x, y, z])).as_quat()
        expected *= np.sign(expected[3])
        np.testing.assert_allclose(found.rotations[s, v, u], expected, atol=1e-7)
    nothing = inputs[0].copy()
    nothing[..., 5:9] = 0
    assert not world_gaussians(nothing, *inputs[1:]).rotations.any()
    little = inputs[0].copy()
    little[..., 5:9] = [1e-8, 0, 0, 0]
    norms = np.linalg.norm(world_gaussians(little, *inputs[1:]).rotations, axis=-1)
    np.testing.assert_allclose(norms, 0.5)


def test_colours_from_a_direction_are_those_that_the_camera_saw(inputs):
    raw, _, _, extrinsics, _ = inputs
    found = world_gaussians(*inputs)
    view = np.random.default_rng(2).normal(size=3)
    view /= np.linalg.norm(view)
    gains = np.array([1.0] + 3 * [0.025] + 5 * [0.00625])
    for s, v, u in each_pixel():
        own = raw[s, v, u, 9:-1].reshape(3, 9) * gains
        R_camera_world = extrinsics[s][:3, :3]
        np.testing.assert_allclose(
            found.harmonics[s, v, u] @ harmonic_basis(view, 2),
            own @ harmonic_basis(R_camera_world @ view, 2),
            atol=1e-9,
        )
    np.testing.assert_allclose(found.colours(), 0.5 + 0.28209479177387814 * found.harmonics[..., 0])


def test_fields_go_to_a_networks_output_and_back(inputs):
    found = world_gaussians(*inputs)
    output = found.as_output()
    assert set(output) == {f"gaussian_{n}" for n in ("means", "scales", "rotations", "harmonics", "opacities")}
    assert Gaussians.of(output).means is found.means
    mask = np.zeros((2, HEIGHT, WIDTH), bool)
    mask[1, 2, 3] = True
    np.testing.assert_array_equal(found.select(mask).scales, found.scales[1, 2, 3][None])
    with pytest.raises(ValueError, match="no 'gaussian_means': call the network with gaussians=True"):
        Gaussians.of({})


def test_harmonics_are_orthonormal_and_have_the_signs_of_splatting():
    """Integrated over a grid of directions that is exact for these degrees."""
    z, weights = np.polynomial.legendre.leggauss(8)
    phi = np.arange(16) * 2 * np.pi / 16
    r = np.sqrt(1 - z**2)
    directions = np.stack([np.outer(r, np.cos(phi)), np.outer(r, np.sin(phi)), np.outer(z, np.ones(16))], -1)
    basis = harmonic_basis(directions, 3)
    area = (weights * 2 * np.pi / 16)[:, None, None, None]
    np.testing.assert_allclose((area * basis[..., :, None] * basis[..., None, :]).sum((0, 1)), np.eye(16), atol=1e-12)
    # As the reference implementation has them: SH_C0, -SH_C1 y, SH_C1 z, -SH_C1 x, then degree 2.
    x, y, z = 0.6, 0.48, 0.64
    expected = [0.28209479177387814, -0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x,
                1.0925484305920792 * x * y, -1.0925484305920792 * y * z,
                0.31539156525252005 * (2 * z * z - x * x - y * y),
                -1.0925484305920792 * x * z, 0.5462742152960396 * (x * x - y * y),
                -0.5900435899266435 * y * (3 * x * x - y * y), 2.890611442640554 * x * y * z,
                -0.4570457994644658 * y * (4 * z * z - x * x - y * y),
                0.3731763325901154 * z * (2 * z * z - 3 * x * x - 3 * y * y),
                -0.4570457994644658 * x * (4 * z * z - x * x - y * y), 1.445305721320277 * z * (x * x - y * y),
                -0.5900435899266435 * x * (x * x - 3 * y * y)]  # fmt: skip
    for degree, n in ((0, 1), (1, 4), (2, 9), (3, 16)):
        np.testing.assert_allclose(harmonic_basis(np.array([x, y, z]), degree), expected[:n], rtol=1e-12)
    assert expected[0] == DC


@pytest.mark.parametrize("degree", [-1, 4])
def test_other_degrees_are_refused(degree):
    with pytest.raises(ValueError, match=f"degree {degree} are not built in: allowed are 0 to 3"):
        harmonic_basis(np.ones(3), degree)


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_turned_harmonics_are_the_function_turned(degree):
    n = (degree + 1) ** 2
    rng = np.random.default_rng(3)
    turns, coefficients = poses(4, 6)[:, :3, :3], rng.normal(size=(6, 3, n))
    turned = rotate_harmonics(coefficients, turns)
    for _ in range(5):
        v = rng.normal(size=3)
        v /= np.linalg.norm(v)
        for i in range(6):
            there = coefficients[i] @ harmonic_basis(turns[i].T @ v, degree)
            np.testing.assert_allclose(turned[i] @ harmonic_basis(v, degree), there, atol=1e-10)
    rotation = harmonic_rotation(turns, degree)
    np.testing.assert_allclose(
        rotation @ np.swapaxes(rotation, -1, -2), np.broadcast_to(np.eye(n), (6, n, n)), atol=1e-10
    )


@pytest.mark.parametrize(("factor", "found"), [(2.0, 2.0), (0.5, 0.5), (5.0, 3.0), (0.1, 1 / 3), (-2.0, None)])
def test_scale_between_two_sets_of_cameras(factor, found):
    source = poses(5, 2, 4)
    target = poses(6, 1)[0] @ source
    target[..., :3, 3] *= abs(factor)
    if factor < 0:  # mirrored: the best similarity is a smaller one
        target[..., 0, 3] *= -1
    scale = pose_scale(invert(source), invert(target))
    if found is not None:
        np.testing.assert_allclose(scale, found, rtol=1e-6)
        return
    for b in range(2):
        a, t = (m[b, :, :3, 3] - m[b, :, :3, 3].mean(0) for m in (source, target))
        u, d, vt = np.linalg.svd(t.T @ a)
        sign = np.sign(np.linalg.det(u @ vt))
        np.testing.assert_allclose(scale[b], max((d[0] + d[1] + sign * d[2]) / (a**2).sum(), 1 / 3), rtol=1e-9)


def test_scale_of_cameras_that_do_not_move_or_are_not_known_is_one():
    still, moving = np.tile(np.eye(4), (1, 3, 1, 1)), poses(7, 1, 3)
    assert pose_scale(still, moving) == 1
    assert pose_scale(moving, still) == 1
    assert pose_scale(moving, moving, np.zeros((1, 3), bool)) == 1
    two = np.array([[True, True, False]])
    far = moving.copy()
    far[0, :2, :3, 3] *= 1.5
    far[0, 2, :3, 3] = 1e9
    np.testing.assert_allclose(pose_scale(invert(moving), invert(far), two), 1.5)
    assert pose_scale(moving.astype(np.float32), moving.astype(np.float32)).dtype == np.float32


def test_gaussians_at_the_border_far_away_and_of_the_sky_are_left_out():
    depth = np.arange(64 * 96, dtype=float).reshape(1, 64, 96) + 1
    mask = worth_keeping(depth)
    assert (BORDER, NEAREST) == (8 / 256, 0.9)
    rows, columns = np.flatnonzero(mask[0].any(1)), np.flatnonzero(mask[0].any(0))
    assert (rows[0], columns[0], columns[-1]) == (2, 3, 92)
    assert depth[mask].max() <= np.quantile(depth, 0.9)
    assert depth[mask].max() > np.quantile(depth, 0.89)
    whole = worth_keeping(depth, border=0.0, nearest=0.5)
    assert whole.sum() == 64 * 96 // 2
    sky = depth > 1000
    np.testing.assert_array_equal(worth_keeping(depth, sky), mask & ~sky)
    some = depth.copy()
    some[0, :60] = np.nan
    left = worth_keeping(some, border=0.0)
    assert left[0, 60:].sum() == int(0.9 * (4 * 96 - 1)) + 1
    assert not left[0, :60].any()


def test_points_of_depth():
    depth = np.array([[1.0, 2.0, np.nan], [4.0, 5.0, 6.0]], np.float32)
    k = np.array([[10.0, 0, 1.5], [0, 20.0, 0.5], [0, 0, 1]])
    points = unproject_depth(depth, k)
    assert points.dtype == np.float32
    np.testing.assert_allclose(points[1, 2], [6 * (2 - 1.5) / 10, 6 * (1 - 0.5) / 20, 6], rtol=1e-6)
    assert np.isnan(points[0, 2]).all()
    ray = np.random.default_rng(0).normal(size=(2, 3, 6))
    np.testing.assert_allclose(unproject(depth, ray)[1, 0], ray[1, 0, 3:] + 4 * ray[1, 0, :3])


def test_fused_points_are_where_their_views_put_them():
    rng = np.random.default_rng(0)
    clouds = [rng.normal(size=(3, 4, 3)).astype(np.float32), rng.normal(size=(5, 3)).astype(np.float32)]
    clouds[0][1, 2, 1] = np.inf
    T = poses(8, 2)
    points, rows = fuse(clouds, list(T))
    flat = np.concatenate([cloud.reshape(-1, 3) for cloud in clouds])
    np.testing.assert_array_equal(rows, [i for i in range(17) if i != 6])
    for point, row in zip(points, rows, strict=True):
        pose = T[0] if row < 12 else T[1]
        np.testing.assert_allclose(point, pose[:3, :3] @ flat[row] + pose[:3, 3], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="at least one view"):
        fuse([], [])
    with pytest.raises(ValueError, match="argument 2"):
        fuse(clouds, [T[0]])


def test_voxels_reach_two_million_in_each_direction():
    far = np.array([[2**20 - 1, 0, 0], [-(2**20), 0, 0], [0, 2**20 - 1, 0], [0, 0, -(2**20)], [0, 0, 0]], np.float32)
    np.testing.assert_array_equal(voxel_downsample(np.concatenate([far, far]), 1.0), range(5))


def test_depth_errors():
    depth, truth = np.array([1.0, 2.0, 5.0, 9.0]), np.array([1.25, 2.0, 4.0, 1.0])
    absolute, share = depth_errors(depth, truth, np.array([True, True, True, False]))
    assert absolute == pytest.approx((0.2 + 0 + 0.25) / 3)
    assert share == pytest.approx(1 / 3)  # 1.25 itself is too far
    assert depth_errors(np.array([1.24]), np.array([1.0]), np.array([True])) == (pytest.approx(0.24), 1.0)
    assert depth_errors(np.array([0.0]), np.array([1.0]), np.array([True])) == (1.0, 0.0)
    assert np.isnan(depth_errors(depth, truth, np.zeros(4, bool))).all()
    assert median_scale(depth, truth, np.array([True, True, True, False])) == 1.0
    assert median_scale(depth, 3 * depth, np.ones(4, bool)) == 3.0


def turned(degrees, x=0.0, y=0.0):
    return from_rotation_translation(Rotation.from_euler("z", degrees, degrees=True).as_matrix(), np.array([x, y, 0.0]))


def test_errors_of_pairs_of_cameras():
    truth = np.stack([turned(0), turned(0, 1), turned(0, 0, 1)])
    found = np.stack([turned(0), turned(10, 1), turned(0, 0, -3)])
    errors = pair_errors(found, truth)
    np.testing.assert_allclose(errors[0], [10, 0], atol=1e-6)
    np.testing.assert_allclose(errors[1], [0, 0], atol=1e-6)  # backwards counts as forwards
    a = np.linalg.inv(found[1]) @ found[2]
    b = np.linalg.inv(truth[1]) @ truth[2]
    cosine = abs(a[:3, 3] @ b[:3, 3]) / np.linalg.norm(a[:3, 3]) / np.linalg.norm(b[:3, 3])
    np.testing.assert_allclose(errors[2], [10, np.degrees(np.arccos(cosine))], atol=1e-6)
    np.testing.assert_allclose(pair_errors(truth[[0, 0]], truth[:2]), [[0, 90]])
    np.testing.assert_allclose(pair_errors(truth[:2], truth[[0, 0]]), [[0, 90]])
    assert pair_errors(truth[:1], truth[:1]).shape == (0, 2)


def test_area_under_the_recall_curve():
    errors = np.array([[0.5, 0.2], [0.1, 1.5], [7.0, 0.0], [2.9, 2.9]])
    # Recall after 1, 2 and 3 degrees: 1/4, 2/4, 3/4.
    assert auc(errors, 3) == pytest.approx((0.25 + 0.5 + 0.75) / 3)
    assert auc(errors[:1], 2) == 1.0
    assert auc(np.zeros((0, 2)), 5) == 0.0
