# SPDX-License-Identifier: Apache-2.0
"""Drawing by gsplat as far as a machine without a GPU goes: a stand-in has its signature, checks and keeps what it is
given, and answers by its conventions.
"""

from needs import needs

needs("torch")

import sys
import types

import numpy as np
import pytest
import torch
from made_gaussians import by_brute_force, some_gaussians

from da3_ros.geometry import CameraModel
from da3_ros.geometry.gaussians import Gaussians
from da3_ros.geometry.poses import from_rotation_translation, invert, matrix_from_quaternion
from da3_ros.render import renderers
from da3_ros.render.config import RenderConfig
from da3_ros.render.on_gsplat import GsplatRenderer
from da3_ros.render.renderers import CpuRenderer, choose_renderer

CAMERA = CameraModel.pinhole(40, 24, 30.0, 28.0, 20.25, 11.0)
POSE = from_rotation_translation(matrix_from_quaternion(np.array([0.1, -0.2, 0.3, 1.0])), np.array([0.3, -0.2, 0.4]))


def pretended(calls):
    """``gsplat.rasterization`` of version 1.5.3, its arguments up to those for lenses and shutters; its shapes, its
    sign of z, its pixel centres at halves.
    """

    def rasterization(
        means, quats, scales, opacities, colors, viewmats, Ks, width, height, near_plane=0.01, far_plane=1e10,
        radius_clip=0.0, eps2d=0.3, sh_degree=None, packed=True, tile_size=16, backgrounds=None, render_mode="RGB",
        sparse_grad=False, absgrad=False, rasterize_mode="classic", channel_chunk=32, distributed=False,
        camera_model="pinhole",
    ):  # fmt: skip
        calls.append(dict(locals()))
        count, views = len(means), len(viewmats)
        assert means.shape == scales.shape == (count, 3)
        assert quats.shape == (count, 4)
        assert opacities.shape == (count,)
        assert colors.ndim == 3
        assert colors.shape[::2] == (count, 3)
        assert (sh_degree + 1) ** 2 <= colors.shape[1]
        assert viewmats.shape == (views, 4, 4)
        assert Ks.shape == (views, 3, 3)
        assert backgrounds.shape == (views, 3)
        assert render_mode == "RGB+ED"
        assert rasterize_mode in ("classic", "antialiased")
        tensors = (means, quats, scales, opacities, colors, viewmats, Ks, backgrounds)
        assert all(value.dtype == torch.float32 and value.is_contiguous() for value in tensors)
        given = Gaussians(*(x.double().numpy() for x in (means, scales, quats, colors.transpose(1, 2), opacities)))
        k = Ks[0].double().numpy()
        camera = CameraModel.pinhole(width, height, k[0, 0], k[1, 1], k[0, 2] - 0.5, k[1, 2] - 0.5)
        colour, alpha, depth = by_brute_force(
            given,
            camera,
            invert(viewmats[0].double().numpy()),
            background=backgrounds[0].numpy(),
            near=near_plane,
            antialiased=rasterize_mode == "antialiased",
        )
        seen = np.concatenate([colour, np.nan_to_num(depth)[..., None]], axis=-1)
        return torch.tensor(seen[None]).float(), torch.tensor(alpha[None, ..., None]).float(), {}

    return rasterization


@pytest.fixture
def calls(monkeypatch):
    made = []
    monkeypatch.setitem(sys.modules, "gsplat", types.SimpleNamespace(rasterization=pretended(made)))
    return made


@pytest.mark.parametrize("degree", [0, 2, 3])
@pytest.mark.parametrize("antialiased", [False, True])
def test_it_draws_what_the_cpu_draws(calls, degree, antialiased):
    gaussians = some_gaussians(degree, 80, degree)
    config = RenderConfig((0.1, 0.5, 0.9), 0.2, antialiased)
    ours, theirs = (
        render(CAMERA, POSE) for render in (CpuRenderer(gaussians, config), GsplatRenderer(gaussians, config, "cpu"))
    )
    np.testing.assert_allclose(theirs.colour, ours.colour, atol=1e-3)
    np.testing.assert_allclose(theirs.alpha, ours.alpha, atol=1e-3)
    assert np.array_equal(np.isnan(theirs.depth), np.isnan(ours.depth))
    solid = ours.alpha > 0.1
    np.testing.assert_allclose(theirs.depth[solid], ours.depth[solid], rtol=1e-2)
    assert theirs.colour.dtype == theirs.alpha.dtype == theirs.depth.dtype == np.float32
    (call,) = calls
    assert (call["width"], call["height"], call["sh_degree"]) == (40, 24, degree)
    assert (call["near_plane"], call["eps2d"]) == (0.2, 0.3)


def test_what_it_is_given_follows_the_conventions_of_gsplat(calls):
    gaussians = some_gaussians(4, 20, 2)
    GsplatRenderer(gaussians, RenderConfig(degree=1), "cpu")(CAMERA, POSE)
    (call,) = calls
    np.testing.assert_allclose(call["viewmats"][0], invert(POSE), atol=1e-6)  # T_camera_world
    np.testing.assert_allclose(call["Ks"][0], [[30, 0, 20.75], [0, 28, 11.5], [0, 0, 1]])
    np.testing.assert_allclose(call["quats"], gaussians.rotations, atol=1e-6)  # w x y z
    np.testing.assert_allclose(call["scales"], gaussians.scales, rtol=1e-6)  # no logarithms
    np.testing.assert_allclose(call["opacities"], gaussians.opacities, atol=1e-6)  # no logits
    np.testing.assert_allclose(call["colors"][:, 3, 1], gaussians.harmonics[:, 1, 3], rtol=1e-5, atol=1e-6)
    assert call["sh_degree"] == 1
    assert call["backgrounds"].tolist() == [[0, 0, 0]]


def test_the_scene_goes_to_the_device_once(calls):
    render = GsplatRenderer(some_gaussians(4, 20), RenderConfig(), "cpu")
    render(CAMERA, POSE)
    render(CAMERA, np.eye(4))
    assert all(calls[0][name] is calls[1][name] for name in ("means", "quats", "scales", "opacities", "colors"))


def test_which_one_draws(calls, monkeypatch):
    gaussians, config = some_gaussians(1, 5), RenderConfig()
    monkeypatch.setattr(renderers, "find_spec", lambda name: None if name == "gsplat" else name)
    assert choose_renderer("auto", gaussians, config)[1] == (
        "on the CPU, since gsplat cannot draw: gsplat not installed"
    )
    assert choose_renderer("cpu", gaussians, config)[1] == "on the CPU"
    with pytest.raises(ValueError, match="gsplat not installed; `pip install torch gsplat`"):
        choose_renderer("gsplat", gaussians, config)
    with pytest.raises(ValueError, match="allowed are auto, cpu, gsplat"):
        choose_renderer("vulkan", gaussians, config)
    monkeypatch.setattr(renderers, "find_spec", lambda name: name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "PyTorch finds no CUDA GPU" in choose_renderer("auto", gaussians, config)[1]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(GsplatRenderer, "_on_device", lambda self, values: torch.as_tensor(np.array(values)))
    for name in ("auto", "gsplat"):
        render, words = choose_renderer(name, gaussians, config)
        assert isinstance(render, GsplatRenderer)
        assert words == "by gsplat, on the GPU"
