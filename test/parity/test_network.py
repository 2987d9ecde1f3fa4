# SPDX-License-Identifier: Apache-2.0
"""Our network against upstream's, live, on equal weights."""

from __future__ import annotations

from needs import needs

needs("onnx", "safetensors", "torch")

import importlib.util

import pytest
import torch
import upstream
from upstream import assert_equal, images

from da3_ros.export.trace import example_cameras
from da3_ros.network import create_model
from da3_ros.network.checkpoint import tied_aliases
from da3_ros.network.reference_view import STRATEGIES, reference_order

pytestmark = pytest.mark.skipif(importlib.util.find_spec("depth_anything_3") is None, reason=upstream.REASON)


@pytest.fixture(scope="module")
def pair():
    ours, theirs = create_model("da3-small").eval(), upstream.build("da3-small")
    aliases = tied_aliases(ours)
    weights = upstream.seeded_weights(ours.state_dict(), aliases)
    ours.load_state_dict(weights)
    theirs.load_state_dict(weights)
    return ours, theirs


# Without saddle_sim_range, which of alike views takes one of two by upstream's rounding.
@pytest.mark.parametrize("reference", STRATEGIES[:3])
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 4), (2, 3)])
def test_unposed(pair, shape, reference):
    ours, theirs = pair
    x = images(*shape)
    with torch.no_grad():
        out = ours(x, reference=reference)
    assert_equal(out, upstream.run(theirs, x, reference=reference))


@pytest.mark.parametrize("reference", STRATEGIES)
def test_choice_of_the_reference_view(reference):
    """Tokens that differ, some of them opposite."""
    from depth_anything_3.model.reference_view_selector import select_reference_view

    tokens = torch.randn(32, 5, 24, generator=torch.Generator().manual_seed(0))
    expected = select_reference_view(tokens[:, :, None], strategy=reference)
    assert reference_order(tokens, reference)[:, 0].tolist() == expected.tolist()


@pytest.mark.parametrize("views", [3, 6])
def test_of_the_most_similar_pair_the_first_is_taken(views):
    tokens = 3 + torch.rand(64, views, 24, generator=torch.Generator().manual_seed(1))
    unit = torch.nn.functional.normalize(tokens.double(), dim=-1)
    similarity = unit @ unit.mT - 2 * torch.eye(views)
    expected = similarity.amax(-1).round(decimals=6).argmax(-1)
    assert reference_order(tokens.double(), "saddle_sim_range")[:, 0].tolist() == expected.tolist()


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 4), (2, 3)])
def test_known_cameras(pair, shape):
    ours, theirs = pair
    b, s = shape
    x = images(b, s)
    extrinsics, intrinsics, _ = example_cameras(s, 70, 98)
    extrinsics, intrinsics = extrinsics.repeat(b, 1, 1, 1), intrinsics.repeat(b, 1, 1, 1)
    with torch.no_grad():
        out = ours(x, extrinsics, intrinsics)
    assert_equal(out, upstream.run(theirs, x, extrinsics, intrinsics))


def test_at_the_size_of_the_position_grid(pair):
    ours, theirs = pair
    x = images(1, 1, 518, 518)
    with torch.no_grad():
        out = ours(x)
    assert_equal(out, upstream.run(theirs, x))


@pytest.mark.parametrize("preset", ["da3-small", "da3-base", "da3-large"])
def test_keys_shapes_and_counts(preset):
    theirs = upstream.build(preset, "meta")
    with torch.device("meta"):
        ours = create_model(preset)
    expected = {k: tuple(v.shape) for k, v in theirs.state_dict().items()}
    assert {k: tuple(v.shape) for k, v in ours.state_dict().items()} == expected
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
