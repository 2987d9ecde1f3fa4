# SPDX-License-Identifier: Apache-2.0
"""Drawing on the CPU: against brute force, and against what can be worked out by hand."""

import numpy as np
import pytest
from made_gaussians import by_brute_force, one_gaussian, published_basis, some_gaussians, together

from da3_ros.geometry import CameraModel
from da3_ros.geometry.gaussians import Gaussians
from da3_ros.geometry.harmonics import harmonic_basis
from da3_ros.geometry.poses import from_rotation_translation, matrix_from_quaternion
from da3_ros.render.config import RenderConfig
from da3_ros.render.renderers import CpuRenderer

CAMERA = CameraModel.pinhole(45, 37, 40.0, 36.0, 23.5, 16.25)
CENTRED = CameraModel.pinhole(21, 21, 40.0, 40.0, 10.0, 10.0)
"""Its axis goes through the middle of a pixel."""
TURNED = from_rotation_translation(matrix_from_quaternion(np.array([0.1, -0.2, 0.3, 1.0])), np.array([0.3, -0.2, 0.4]))


def difference(gaussians, pose, config=None, camera=CAMERA, **options):
    """Largest difference of colour or alpha from brute force; depth is compared where something is seen."""
    config = config or RenderConfig()
    seen = CpuRenderer(gaussians, config)(camera, pose)
    colour, alpha, depth = by_brute_force(
        gaussians,
        camera,
        pose,
        background=config.background,
        near=config.near,
        antialiased=config.antialiased,
        **options,
    )
    assert np.array_equal(np.isfinite(seen.depth), seen.alpha > 0)
    solid = (alpha > 0.05) & (seen.alpha > 0)
    assert solid.any()
    if options.get("cut", True):
        np.testing.assert_allclose(seen.depth[solid], depth[solid], rtol=1e-3)
    return max(np.abs(seen.colour - colour).max(), np.abs(seen.alpha - alpha).max())


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_it_is_brute_force_at_every_degree(degree):
    gaussians = some_gaussians(degree, 150, degree)
    for pose in (np.eye(4), TURNED):
        assert difference(gaussians, pose) < 2e-4
        assert difference(gaussians, pose, RenderConfig((0.2, 0.9, 0.5), antialiased=True)) < 2e-4


@pytest.mark.parametrize(
    "scene",
    [
        {"middle": (0, 0, 0)},  # around the camera: some behind it
        {"middle": (0, 0, 0), "extent": 0.3, "sizes": (1e-3, 0.1)},
        {"sizes": (1e-7, 1e-4), "opacities": (0.5, 1)},
        {"sizes": (0.5, 50)},
        {"sizes": (1e-4, 30)},  # needles and sheets
        {"middle": (3, 2, 3), "extent": 1.5},  # partly outside
        {"sizes": (0.05, 0.3), "opacities": (0.9, 1)},  # transmittance comes to its end
        {"middle": (0, 0, 400), "extent": 100, "sizes": (1, 30)},
    ],
    ids=["around", "near", "tiny", "huge", "needles", "outside", "opaque", "far"],
)
def test_it_is_brute_force_on_hard_scenes(scene):
    assert difference(some_gaussians(7, 150, 2, **scene), np.eye(4), RenderConfig((1, 0.5, 0))) < 3e-4


def test_without_the_cut_offs_little_changes():
    """Each leaves out less than 1/255 of a pixel; of five Gaussians that lie apart, no pixel is short of more."""
    parts = [one_gaussian((x, 0, 2), 0.05, (1, 0.5, 0), 0.9) for x in (-0.8, -0.4, 0, 0.4, 0.8)]
    assert 1e-3 < difference(together(*parts), np.eye(4), cut=False) < 1 / 255


def test_more_gaussians_than_a_chunk_in_one_pixel():
    gaussians = some_gaussians(3, 900, extent=0.2, sizes=(0.05, 0.2), opacities=(0.005, 0.02))
    assert difference(gaussians, np.eye(4)) < 2e-4


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (9, 7), (64, 3)])
def test_images_of_any_size(size):
    camera = CameraModel.pinhole(*size, 20.0, 20.0, size[0] / 2, size[1] / 2)
    assert difference(some_gaussians(1, 80, sizes=(0.1, 0.6), opacities=(0.5, 1)), np.eye(4), camera=camera) < 2e-4


def test_one_round_gaussian_has_the_peak_and_the_width_of_its_formula():
    camera = CameraModel.pinhole(41, 41, 100.0, 100.0, 20.0, 20.0)
    seen = CpuRenderer(one_gaussian((0, 0, 2), 0.1, (1, 0.25, 0), 0.8))(camera, np.eye(4))
    variance = (100 * 0.1 / 2) ** 2 + 0.3
    row = 0.8 * np.exp(-((np.arange(41) - 20) ** 2) / 2 / variance)
    np.testing.assert_allclose(seen.alpha[20], np.where(row < 1 / 255, 0, row), atol=1e-6)
    np.testing.assert_allclose(seen.alpha[:, 20], seen.alpha[20], atol=1e-6)
    np.testing.assert_allclose(seen.colour[20, 20], [0.8, 0.2, 0], atol=1e-6)
    assert seen.depth[20, 20] == pytest.approx(2)
    assert seen.pixels()[20, 20].tolist() == [204, 51, 0]


def test_a_gaussian_beside_the_axis_is_where_its_centre_projects_to():
    camera = CameraModel.pinhole(41, 31, 50.0, 40.0, 20.0, 15.0)
    alpha = CpuRenderer(one_gaussian((0.4, -0.25, 2), 0.05))(camera, np.eye(4)).alpha
    assert np.unravel_index(alpha.argmax(), alpha.shape) == (10, 30)
    assert alpha.max() == pytest.approx(0.8)


def test_a_turned_camera_sees_what_it_is_turned_to():
    """A quarter to the right: what was on the right is ahead."""
    right = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], float)
    pose = from_rotation_translation(right, np.array([1.0, 0, 0]))
    render = CpuRenderer(one_gaussian((3, 0, 0), 0.1))
    assert render(CAMERA, np.eye(4)).alpha.max() == 0
    seen = render(CAMERA, pose)
    assert seen.depth[16, 23] == pytest.approx(2, rel=1e-5)
    assert np.isnan(seen.depth[0, 0])


def test_a_needle_is_turned_with_its_quaternion():
    half = np.sqrt(0.5)
    lying = one_gaussian((0, 0, 2), (0.4, 0.01, 0.01))
    standing = one_gaussian((0, 0, 2), (0.4, 0.01, 0.01), rotation=(half, 0, 0, half))  # about z
    for gaussians, ahead in ((lying, (16, 33)), (standing, (26, 23))):
        alpha = CpuRenderer(gaussians)(CAMERA, np.eye(4)).alpha
        assert alpha[ahead] > 0.2
        assert alpha[ahead[1] - 7, 23 + ahead[0] - 16] < 0.01


def test_the_nearer_of_two_is_in_front_in_whichever_order_they_come():
    red, green = one_gaussian((0, 0, 2), 0.5, (1, 0, 0), 0.6), one_gaussian((0, 0, 3), 0.5, (0, 1, 0), 0.5)
    for pair in ((red, green), (green, red)):
        seen = CpuRenderer(together(*pair), RenderConfig((0, 0, 1)))(CAMERA, np.eye(4))
        np.testing.assert_allclose(seen.colour[16, 23], [0.6, 0.4 * 0.5, 0.4 * 0.5], atol=2e-3)
        assert seen.depth[16, 23] == pytest.approx((0.6 * 2 + 0.2 * 3) / 0.8, rel=2e-3)


def test_the_background_is_where_nothing_is():
    config = RenderConfig((0.25, 0.5, 1))
    seen = CpuRenderer(one_gaussian(opacity=1.0), config)(CENTRED, np.eye(4))
    assert seen.colour[0, 0].tolist() == [0.25, 0.5, 1]
    assert seen.alpha.max() == pytest.approx(0.99)  # no more than that, however opaque
    nothing = one_gaussian((0, 0, -1))
    np.testing.assert_array_equal(CpuRenderer(nothing, config)(CAMERA, np.eye(4)).colour[..., 1], np.float32(0.5))


def test_near_and_faint_gaussians_are_left_out():
    assert CpuRenderer(one_gaussian((0, 0, 0.5)), RenderConfig(near=0.6))(CENTRED, np.eye(4)).alpha.max() == 0
    assert CpuRenderer(one_gaussian((0, 0, 0.5)), RenderConfig(near=0.5))(CENTRED, np.eye(4)).alpha.max() == 0
    assert CpuRenderer(one_gaussian((0, 0, 0.5)), RenderConfig(near=0.4))(CENTRED, np.eye(4)).alpha.max() > 0.7
    assert CpuRenderer(one_gaussian(opacity=0.0039))(CENTRED, np.eye(4)).alpha.max() == 0
    assert CpuRenderer(one_gaussian(opacity=0.0040))(CENTRED, np.eye(4)).alpha.max() > 0


def test_a_tiny_gaussian_keeps_its_light_only_where_that_is_asked_for():
    """Its area on the image is far below a pixel: the low-pass alone would make it as bright as a large one."""
    tiny = one_gaussian((0, 0, 2), 1e-3, opacity=0.9)
    camera = CameraModel.pinhole(21, 21, 20.0, 20.0, 10.0, 10.0)
    plain, kept = (
        CpuRenderer(tiny, RenderConfig(antialiased=on))(camera, np.eye(4)).alpha.max() for on in (False, True)
    )
    assert plain == pytest.approx(0.9)
    # 0.9 of (0.01 px)^2 / 0.3: below 1/255.
    assert kept == 0
    larger = one_gaussian((0, 0, 2), 0.03, opacity=0.9)
    kept = CpuRenderer(larger, RenderConfig(antialiased=True))(camera, np.eye(4)).alpha.max()
    assert kept == pytest.approx(0.9 * 0.3**2 / (0.3**2 + 0.3), rel=1e-4)


def test_the_basis_is_the_published_one():
    rays = np.random.default_rng(0).normal(size=(50, 3))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    np.testing.assert_allclose(harmonic_basis(rays, 3), published_basis(rays), atol=1e-12)


def test_colour_depends_on_the_direction_from_the_camera():
    harmonics = np.zeros((1, 3, 4))
    harmonics[0, 0, 2] = 1  # red, of direction z
    base = one_gaussian((0, 0, 0), 0.2, opacity=0.8)
    gaussians = Gaussians(base.means, base.scales, base.rotations, harmonics, base.opacities)
    behind = from_rotation_translation(np.diag([-1.0, 1, -1]), np.array([0, 0, 2.0]))
    before = from_rotation_translation(np.eye(3), np.array([0, 0, -2.0]))
    camera = CameraModel.pinhole(21, 21, 20.0, 20.0, 10.0, 10.0)
    for pose, red in ((before, 0.5 + 0.4886025), (behind, 0.5 - 0.4886025)):
        colour = CpuRenderer(gaussians)(camera, pose).colour[10, 10]
        np.testing.assert_allclose(colour, 0.8 * np.array([red, 0.5, 0.5]), atol=1e-5)
    flat = CpuRenderer(gaussians, RenderConfig(degree=0))(camera, before).colour[10, 10]
    np.testing.assert_allclose(flat, 0.4, atol=1e-5)


def test_colours_are_no_less_than_black():
    seen = CpuRenderer(one_gaussian(colour=(-3, 0.5, 0.5)), RenderConfig((1, 1, 1)))(CAMERA, np.eye(4))
    assert seen.colour.min() >= 0
    assert seen.colour[16, 23, 0] == pytest.approx(1 - seen.alpha[16, 23], abs=1e-6)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"background": (0, 2, 0)}, "0 to 1"),
        ({"near": 0}, "positive"),
        ({"near": float("nan")}, "positive"),
        ({"degree": -1}, "0 "),
    ],
)
def test_what_makes_no_sense_is_refused(config, words):
    with pytest.raises(ValueError, match=words):
        RenderConfig(**config)


def test_cameras_and_poses_that_cannot_be_drawn_are_refused():
    render = CpuRenderer(one_gaussian())
    with pytest.raises(ValueError, match="distortion"):
        render(CameraModel(8, 8, 8, 8, 4, 4, (0.1,)), np.eye(4))
    for wrong in (2 * np.eye(4), np.diag([1.0, 1, -1, 1]), np.full((4, 4), np.nan), np.eye(3)):
        with pytest.raises(ValueError, match="no rigid transform"):
            render(CAMERA, wrong)
