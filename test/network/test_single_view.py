# SPDX-License-Identifier: Apache-2.0
from needs import needs

needs("safetensors", "torch")

import pytest
import torch
from micro import MICRO_SINGLE

from da3_ros.network import build_model, create_model, metric_depth
from da3_ros.network.sky import is_sky, larger_half, masked_quantile, push_sky_back


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return build_model(MICRO_SINGLE).eval()


def test_outputs(net):
    with torch.no_grad():
        out = net(torch.randn(2, 3, 3, 28, 42))
    assert {k: tuple(v.shape) for k, v in out.items()} == {"depth": (2, 3, 28, 42), "sky": (2, 3, 28, 42)}
    assert (out["depth"] > 0).all()
    assert (out["sky"] >= 0).all()


def test_images_do_not_see_each_other(net):
    x = torch.randn(2, 2, 3, 28, 28)
    with torch.no_grad():
        together, alone = net(x), net(x[1:, 1:])
    torch.testing.assert_close(together["depth"][1:, 1:], alone["depth"])


def test_the_head_may_work_in_parts(net):
    x = torch.randn(2, 2, 3, 28, 28)
    with torch.no_grad():
        torch.testing.assert_close(net(x, views_at_once=3), net(x))
    with pytest.raises(ValueError, match="views_at_once is 0"):
        net(x, views_at_once=0)


def test_training_keeps_the_heads_own_sky_depth(net):
    x = torch.randn(1, 1, 3, 56, 56)
    with torch.no_grad():
        raw = net.train()(x)
        out = net.eval()(x)
    far = is_sky(raw["sky"])
    torch.testing.assert_close(out["depth"], push_sky_back(raw["depth"], raw["sky"]))
    torch.testing.assert_close(out["depth"][~far], raw["depth"][~far])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"extrinsics": torch.eye(4)[None, None]}, "takes no cameras"),
        ({"intrinsics": torch.eye(3)[None, None]}, "metric_depth"),
        ({"gaussians": True}, "no Gaussian head"),
        ({"features": [4]}, "0 to 3"),
    ],
)
def test_what_it_cannot_do(net, arguments, word):
    with pytest.raises(ValueError, match=word):
        net(torch.zeros(1, 1, 3, 28, 28), **arguments)


def test_every_published_name_is_a_preset():
    with torch.device("meta"):
        create_model("da3mono-large")
        create_model("da3metric-large")


def test_metric_depth():
    k = torch.tensor([[[500.0, 0, 10], [0, 700.0, 10], [0, 0, 1]]])
    assert metric_depth(torch.full((1, 2, 2), 3.0), k).unique().item() == pytest.approx(6.0)


def test_masked_quantile_is_torchs():
    values, mask = torch.rand(4, 57), torch.rand(4, 57) < 0.5
    mask[3] = False
    for q in (0.0, 0.5, 0.99, 1.0):
        got = masked_quantile(values, mask, q)
        for row in range(3):
            torch.testing.assert_close(got[row], torch.quantile(values[row][mask[row]], q))
        assert got[3].isnan()


def test_the_larger_half_is_what_lies_at_the_median_and_above():
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(5, 1001, generator=generator).log().neg() * 3 + 1
    values[1] = values[1].round()  # many equal values
    values[2] = 1.5
    mask = torch.rand(5, 1001, generator=generator) < 0.7
    mask[3] = False
    mask[4, 1:] = False
    for rows in (slice(None), slice(0, 1000)):
        half = larger_half(values[:, rows], mask[:, rows])
        median = masked_quantile(values[:, rows], mask[:, rows], 0.5)
        torch.testing.assert_close(half, mask[:, rows] & (values[:, rows] >= median[:, None]), rtol=0, atol=0)
    assert not half[3].any()


def test_sky_goes_to_the_back_of_its_own_image():
    depth = torch.stack([torch.linspace(1, 2, 100), torch.linspace(10, 20, 100)]).view(2, 10, 10)
    sky = torch.zeros(2, 10, 10)
    sky[:, :2] = 1
    out = push_sky_back(depth, sky)
    for image, result in zip(depth, out, strict=True):
        limit = torch.quantile(image[2:].flatten(), 0.99)
        torch.testing.assert_close(result[:2], limit.expand(2, 10))
        torch.testing.assert_close(result[2:], image[2:])


@pytest.mark.parametrize("pixels", [10, 90])
def test_too_few_pixels_on_one_side_change_nothing(pixels):
    depth, sky = torch.rand(1, 100), torch.zeros(1, 100)
    sky[0, :pixels] = 1
    torch.testing.assert_close(push_sky_back(depth.view(1, 10, 10), sky.view(1, 10, 10)), depth.view(1, 10, 10))


def test_any_number_of_images_in_every_scene(net):
    x = torch.randn(2, 9, 3, 28, 28)
    with torch.no_grad():
        together, alone = net(x), net(x[1:])
    torch.testing.assert_close(together["depth"][1:], alone["depth"])
