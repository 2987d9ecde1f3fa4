# SPDX-License-Identifier: Apache-2.0
"""Monocular and metric networks against upstream's, live, on equal weights."""

from __future__ import annotations

from needs import needs

needs("safetensors", "torch")

import contextlib
import importlib.util
import io

import pytest
import torch
import upstream
from micro import MICRO_SINGLE
from upstream import assert_equal, images

from da3_ros.network import build_model, create_model
from da3_ros.network.presets import PRESETS
from da3_ros.network.sky import is_sky

pytestmark = pytest.mark.skipif(importlib.util.find_spec("depth_anything_3") is None, reason=upstream.REASON)

PRESET = "da3mono-large"


@pytest.fixture(scope="module")
def small():
    ours, theirs = build_model(MICRO_SINGLE).eval(), upstream.build_like(MICRO_SINGLE)
    weights = upstream.seeded_weights(ours.state_dict(), {})
    ours.load_state_dict(weights)
    theirs.load_state_dict(weights)
    return ours, theirs


def run(net, x, **options):
    with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
        return net(x, **options)


@pytest.mark.parametrize("size", [(70, 98), (98, 70), (518, 518)])
def test_one_image(small, size):
    """Of one image: upstream takes its sky statistics over the whole batch, and a random sample of large batches."""
    ours, theirs = small
    x = images(1, 1, *size)
    if size == (518, 518):
        # More than 100 000 pixels that are not sky: upstream draws a sample. Before its sky step both are defined.
        theirs._process_mono_sky_estimation = lambda output: output
        ours.train()
    try:
        out, expected = run(ours, x), run(theirs, x)
    finally:
        theirs.__dict__.pop("_process_mono_sky_estimation", None)
        ours.eval()
    assert 10 < int(is_sky(expected["sky"]).sum()) < expected["sky"].numel() - 10
    assert_equal(out, {k: expected[k] for k in ("depth", "sky")})


def test_a_batch_is_its_images(small):
    ours, theirs = small
    x = images(2, 3)
    out = run(ours, x)
    for b in range(2):
        for s in range(3):
            expected = run(theirs, x[b : b + 1, s : s + 1])
            assert_equal({k: v[b, s][None, None] for k, v in out.items()}, {k: expected[k] for k in ("depth", "sky")})


def test_features(small):
    ours, theirs = small
    x = images(1, 2)
    out, expected = run(ours, x, features=[1, 2]), run(theirs, x, export_feat_layers=[1, 2])
    assert_equal(out, {f"features_{i}": expected["aux"][f"feat_layer_{i}"] for i in (1, 2)})


def test_at_real_size():
    with torch.device("meta"):
        ours = create_model(PRESET)
    theirs = upstream.build(PRESET, "meta")
    weights = upstream.seeded_weights(ours.state_dict(), {})
    for net in (ours, theirs):  # one copy of the weights for both
        net.load_state_dict(weights, assign=True)
        net.eval()
    x = images(1, 1, 56, 70)
    out, expected = run(ours, x), run(theirs, x)
    assert_equal(out, {k: expected[k] for k in ("depth", "sky")})


@pytest.mark.parametrize("preset", ["da3mono-large", "da3metric-large"])
def test_keys_and_shapes(preset):
    with torch.device("meta"):
        ours = create_model(preset)
    theirs = upstream.build(preset, "meta")
    assert preset in PRESETS
    shapes = [{k: tuple(v.shape) for k, v in net.state_dict().items()} for net in (ours, theirs)]
    assert shapes[0] == shapes[1]
    assert len(shapes[0]) == 406
    assert sum(p.numel() for p in ours.parameters()) == 334_171_394
