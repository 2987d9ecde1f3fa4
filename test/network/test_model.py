# SPDX-License-Identifier: Apache-2.0
from needs import needs

needs("safetensors", "torch")

import pytest
import torch
import torch.nn.functional as F

from da3_ros.network import PRESETS, create_model
from da3_ros.network.backbone import cubic_resampling


@pytest.fixture(scope="module")
def nano():
    torch.manual_seed(0)
    return create_model("da3-nano").eval()


def test_nano_is_small():
    with torch.device("meta"):
        assert sum(p.numel() for p in create_model("da3-nano").parameters()) < 20e6


def test_output_shapes(nano):
    with torch.no_grad():
        out = nano(torch.randn(2, 3, 3, 28, 42))
    shapes = {name: tuple(value.shape) for name, value in out.items()}
    assert shapes == {
        "depth": (2, 3, 28, 42),
        "depth_conf": (2, 3, 28, 42),
        "ray": (2, 3, 16, 24, 6),
        "ray_conf": (2, 3, 16, 24),
        "pose_code": (2, 3, 9),
        "extrinsics": (2, 3, 3, 4),
        "intrinsics": (2, 3, 3, 3),
    }
    assert (out["depth"] > 0).all()
    assert (out["depth_conf"] >= 1).all()


def test_rays_are_left_out_where_nobody_asks(nano):
    """And nothing else: of the whole head only the layers that lead to rays are not run."""
    x, ran = torch.randn(1, 2, 3, 28, 42), []
    layers = {name: module for name, module in nano.head.named_modules() if isinstance(module, torch.nn.Conv2d)}
    hooks = [m.register_forward_hook(lambda *_, name=name: ran.append(name)) for name, m in layers.items()]
    with torch.no_grad():
        whole, every = nano(x), set(ran)
        ran.clear()
        out = nano(x, rays=False)
    for hook in hooks:
        hook.remove()
    assert whole.keys() - out.keys() == {"ray", "ray_conf"}
    for name, value in out.items():
        torch.testing.assert_close(value, whole[name], rtol=0, atol=0)
    assert every - set(ran)
    assert all("_aux" in name for name in every - set(ran))
    assert not any("_aux" in name for name in ran)


def test_views_see_each_other_and_scenes_do_not(nano):
    x = torch.randn(2, 2, 3, 28, 28)
    changed = x.clone()
    changed[0, 1] += 1
    with torch.no_grad():
        a, b = nano(x)["depth"], nano(changed)["depth"]
    assert not torch.allclose(a[0, 0], b[0, 0], rtol=1e-6)
    torch.testing.assert_close(a[1], b[1])


def test_reordered_views_give_reordered_outputs(nano):
    """With a reference chosen by content, the order in which views are given does not matter."""
    x = torch.randn(1, 4, 3, 28, 28)
    order = [2, 0, 3, 1]
    with torch.no_grad():
        a, b = (nano(v, reference="saddle_balanced")["depth"] for v in (x, x[:, order]))
    torch.testing.assert_close(a[:, order], b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"images": torch.zeros(1, 3, 28, 28)}, "B, S, 3"),
        ({"images": torch.zeros(1, 1, 3, 30, 28)}, "multiple of 14"),
        (
            {"images": torch.zeros(1, 1, 3, 28, 28), "extrinsics": torch.eye(4)[None, None]},
            "without intrinsics",
        ),
        ({"images": torch.zeros(1, 1, 3, 28, 28), "intrinsics": torch.eye(3)[None, None]}, "alone"),
        ({"images": torch.zeros(1, 1, 3, 28, 28), "reference": "best"}, "saddle_balanced"),
    ],
)
def test_inputs_that_cannot_be_used_are_refused(nano, arguments, word):
    with pytest.raises(ValueError, match=word):
        nano(**arguments)


def test_unknown_preset_names_the_known_ones():
    with pytest.raises(ValueError, match="da3-small"):
        create_model("da3-tiny")
    assert "da3-nano" in PRESETS


@pytest.mark.parametrize("n_out", [9, 24, 37, 50])
def test_cubic_resampling_is_torchs(n_out):
    x = torch.randn(1, 1, 37, 37)
    ratio = (n_out + 0.1) / 37
    m = cubic_resampling(n_out, 37, ratio, x)
    expected = F.interpolate(x, scale_factor=(ratio, ratio), mode="bicubic")
    torch.testing.assert_close((m @ x[0, 0] @ m.T), expected[0, 0], atol=1e-4, rtol=1e-4)
