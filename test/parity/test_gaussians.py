# SPDX-License-Identifier: Apache-2.0
"""Gaussian head, Gaussians and the nested network against upstream's, live, on equal weights."""

from __future__ import annotations

from needs import needs

needs("onnx", "safetensors", "torch")

import contextlib
import importlib.util
import io

import pytest
import torch
import upstream
from micro import MICRO_GIANT, MICRO_NESTED
from upstream import TOLERANCE, assert_equal, images

from da3_ros.export.trace import example_cameras
from da3_ros.geometry.gaussians import Gaussians
from da3_ros.geometry.harmonics import rotate_harmonics
from da3_ros.network import build_model, create_model
from da3_ros.network.checkpoint import tied_aliases
from da3_ros.network.sky import is_sky

pytestmark = pytest.mark.skipif(importlib.util.find_spec("depth_anything_3") is None, reason=upstream.REASON)

GEOMETRY = ("depth", "depth_conf", "extrinsics", "intrinsics")
FIELDS = ("means", "scales", "rotations", "harmonics", "opacities")


@pytest.fixture(autouse=True)
def harmonics(monkeypatch):
    """Upstream turns harmonics by e3nn. Without it ours stands in; test_gaussians.py knows e3nn's numbers."""
    if importlib.util.find_spec("e3nn") is None:
        from depth_anything_3.model import gs_adapter

        monkeypatch.setattr(gs_adapter, "rotate_sh", rotate_harmonics_as_upstream)


def rotate_harmonics_as_upstream(harmonics, rotation):
    """One camera for all pixels and colours: upstream's rotations have an axis for the colours too."""
    return rotate_harmonics(harmonics, rotation[..., 0, :, :])


def pair(preset):
    ours, theirs = build_model(preset).eval(), upstream.build_like(preset)
    weights = upstream.seeded_weights(ours.state_dict(), tied_aliases(ours))
    for net in (ours, theirs):
        net.load_state_dict(weights)
    return ours, theirs


@pytest.fixture(scope="module")
def giant():
    return pair(MICRO_GIANT)


@pytest.fixture(scope="module")
def nested():
    return pair(MICRO_NESTED)


def run(net, *args, **options):
    with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
        return net(*args, **options)


def cameras(b, s):
    """Known cameras on an arc, and not in one plane, for upstream's alignment wants a full similarity."""
    extrinsics, intrinsics, _ = example_cameras(s, 70, 98)
    extrinsics[:, 1, 3] = 0.2 * torch.arange(s) ** 2
    return extrinsics.repeat(b, 1, 1, 1), intrinsics.repeat(b, 1, 1, 1)


def assert_equal_gaussians(out, theirs, unit=1.0):
    """Theirs are (B, S * H * W, ...). unit: of our lengths in theirs."""
    ours = Gaussians.of(out)
    flat = {name: getattr(ours, name).flatten(1, 3) for name in FIELDS}
    flat["means"], flat["scales"] = flat["means"] / unit, flat["scales"] / unit
    assert_equal(flat, {name: getattr(theirs, name) for name in FIELDS})


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 4), (2, 3)])
def test_giant_with_gaussians(giant, shape):
    ours, theirs = giant
    x = images(*shape)
    out, expected = run(ours, x, gaussians=True), run(theirs, x, infer_gs=True)
    assert_equal(out, {k: expected[k] for k in GEOMETRY})
    assert_equal_gaussians(out, expected["gaussians"])
    assert (out["gaussian_pose_scale"] == 1).all()


@pytest.mark.parametrize("shape", [(1, 3), (2, 4)])
def test_gaussians_at_the_scale_of_known_cameras(giant, shape):
    ours, theirs = giant
    x, known = images(*shape), cameras(*shape)
    plain, posed = run(ours, x, *known), run(ours, x, *known, gaussians=True)
    expected = run(theirs, x, *known, infer_gs=True)
    assert_equal(posed, plain)
    assert_equal(posed, {k: expected[k] for k in GEOMETRY})
    assert_equal_gaussians(posed, expected["gaussians"])


def test_gaussians_at_a_scale_inside_the_limits(giant):
    ours, theirs = giant
    x, (near, intrinsics) = images(1, 3), cameras(1, 3)
    for shrink in (1.0, 0.3, 0.1, 0.03, 0.01, 0.003):  # until the given baselines are like the predicted ones
        given = near.clone()
        given[..., :3, 3] *= shrink
        out = run(ours, x, given, intrinsics, gaussians=True)
        if 0.34 < out["gaussian_pose_scale"].item() < 2.9:
            break
    else:
        pytest.fail(f"no scale inside the limits, last {out['gaussian_pose_scale'].item()}")
    assert_equal_gaussians(out, run(theirs, x, given, intrinsics, infer_gs=True)["gaussians"])


def test_features_of_the_giant_in_the_callers_order(giant):
    """Upstream's come back in its own order where it has chosen a reference, so: reference first."""
    ours, theirs = giant
    x = images(1, 4)
    out = run(ours, x, reference="first", features=[2, 3])
    expected = run(theirs, x, ref_view_strategy="first", export_feat_layers=[2, 3])
    assert_equal(out, {f"features_{i}": expected["aux"][f"feat_layer_{i}"] for i in (2, 3)})


@pytest.mark.parametrize("views", [1, 2, 4])
@pytest.mark.parametrize("posed", [False, True])
def test_nested(nested, views, posed):
    """One scene: upstream takes one scale, and its sky depth, over the whole batch.

    Fewer than 100 000 pixels: of more upstream takes its quantiles over a random sample.
    """
    ours, theirs = nested
    x, known = images(1, 4)[:, 4 - views :], cameras(1, views) if posed else ()
    out = run(ours, x, *known, gaussians=not posed)
    expected = run(theirs, x, *known, infer_gs=not posed)
    assert 10 < int(is_sky(out["sky"]).sum()) < out["sky"].numel() - 10
    assert_equal(out, {k: expected[k] for k in GEOMETRY})
    assert abs(out["metric_scale"].item() / expected["scale_factor"] - 1) < TOLERANCE
    if not posed:  # upstream leaves its Gaussians in the unit of the any-view network
        assert_equal_gaussians(out, expected["gaussians"], unit=out["metric_scale"])


def test_nested_batch_is_its_scenes(nested):
    ours, theirs = nested
    x = images(2, 3)
    out = run(ours, x)
    for b in range(2):
        expected = run(theirs, x[b : b + 1])
        assert_equal({k: v[b : b + 1] for k, v in out.items()}, {k: expected[k] for k in GEOMETRY})
    assert out["metric_scale"][0] != out["metric_scale"][1]


@pytest.mark.parametrize(
    ("preset", "keys", "stored", "count"),
    [("da3-giant", 977, 971, 1_355_674_125), ("da3nested-giant-large", 1383, 1377, 1_689_845_519)],
)
def test_keys_shapes_and_counts(preset, keys, stored, count):
    theirs = upstream.build(preset, "meta")
    with torch.device("meta"):
        ours = create_model(preset)
    expected = {k: tuple(v.shape) for k, v in theirs.state_dict().items()}
    assert {k: tuple(v.shape) for k, v in ours.state_dict().items()} == expected
    assert (len(expected), len(expected) - len(tied_aliases(ours))) == (keys, stored)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters()) == count
