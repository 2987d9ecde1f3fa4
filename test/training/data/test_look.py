# SPDX-License-Identifier: Apache-2.0
from needs import needs

needs("safetensors", "torch")

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from developed import Sampler

from da3_training.data import look
from da3_training.data.filters import gaussian_kernels, motion_kernels
from da3_training.data.jpeg import through_jpeg
from da3_training.data.look import plain_looks, random_looks, with_looks
from da3_training.data.noise import hashed_noise
from da3_training.data.samples import SampleConfig
from da3_training.datasets.registry import SceneSet
from da3_training.scenes.sensor import smear

GREY = torch.full((1, 3, 42, 56), 120 / 255)
CPU = torch.device("cpu")


@pytest.fixture
def photo():
    """A picture with edges, surfaces and colours, (3, 84, 112)."""
    rng = np.random.default_rng(0)
    coarse = cv2.resize(rng.random((9, 12, 3), dtype=np.float32), (112, 84), interpolation=cv2.INTER_CUBIC)
    coarse[30:50, 40:80] = rng.random(3)
    return torch.from_numpy(coarse.clip(0, 1).transpose(2, 0, 1)).contiguous()


def changed(images, **numbers):
    """Images under looks that are plain but for some numbers of the last one."""
    rows = plain_looks(len(images))
    for name, value in numbers.items():
        rows[-1, getattr(look, name)] = value
    return with_looks(images, rows)


def looks(strong, count=200):
    """Mean colours of a grey image, and how much its brightness varies over the image, under many looks."""
    rows = np.concatenate([random_looks(np.random.default_rng(seed), 1, strong) for seed in range(count)])
    images = 255 * with_looks(GREY.expand(count, -1, -1, -1), rows).numpy()
    smooth = images.mean(1).reshape(count, 6, 7, 8, 7).mean((2, 4))
    return images.mean((1, 2, 3)), smooth.std((1, 2))


@pytest.mark.parametrize("strong", [False, True])
def test_a_look_is_an_image_of_the_same_kind(strong, photo):
    for seed in range(20):
        out = with_looks(photo[None], random_looks(np.random.default_rng(seed), 1, strong))
        assert out.shape == (1, *photo.shape)
        assert 0 <= out.min() <= out.max() <= 1


def test_the_plain_look_changes_nothing(photo):
    torch.testing.assert_close(with_looks(photo[None], plain_looks(1))[0], photo, atol=1e-6, rtol=0)


def test_strong_looks_go_farther_and_light_the_image_unevenly():
    (mild, mild_uneven), (strong, strong_uneven) = looks(False), looks(True)
    assert strong.std() > 1.5 * mild.std()
    assert mild_uneven.max() < 3
    assert np.median(strong_uneven) > 5


def test_colours_change_places_only_in_strong_looks():
    red = torch.zeros(60, 3, 42, 56)
    red[:, 0] = 200 / 255

    def brightest(strong):
        rows = np.concatenate([random_looks(np.random.default_rng(seed), 1, strong) for seed in range(60)])
        return set(with_looks(red, rows).mean((2, 3)).argmax(1).tolist())

    assert brightest(False) == {0}
    assert brightest(True) == {0, 1, 2}


@pytest.mark.parametrize(
    "numbers", [{"BLUR": 2.0}, {"NOISE": 12.0}, {"QUALITY": 30}, {"GAIN": 0.5}, {"GAMMA": 2.0}, {"SATURATION": 0.0}]
)
def test_every_number_of_a_look_changes_its_own_image_alone(photo, numbers):
    pair = torch.stack([photo, photo])
    out = changed(pair, **numbers)
    torch.testing.assert_close(out[0], photo, atol=1e-6, rtol=0)
    assert (out[1] - photo).abs().mean() > 0.005


@pytest.mark.parametrize("sigma", [0.5, 1.3, 2.4])
def test_blur_is_opencv_s(photo, sigma):
    ours = changed(photo[None], BLUR=sigma)[0].numpy().transpose(1, 2, 0)
    size = 2 * int(np.ceil(3 * sigma)) + 1
    theirs = cv2.GaussianBlur(photo.numpy().transpose(1, 2, 0), (size, size), sigma, borderType=cv2.BORDER_REPLICATE)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert gaussian_kernels(np.array([sigma])).sum() == pytest.approx(1)


def test_motion_is_that_of_single_pictures(photo):
    image = photo.numpy().transpose(1, 2, 0)
    kernel = motion_kernels(np.array([9.0]), np.array([0.7]))[0]
    ours = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    np.testing.assert_allclose(ours, smear(image, 9.0, 0.7), atol=1e-6)


@pytest.mark.parametrize("quality", [25, 50, 90])
def test_jpeg_is_libjpeg_s_but_for_rounding(photo, quality):
    """The mean change agrees, and ours is much nearer to theirs than either is to the original."""
    image = (photo.numpy().transpose(1, 2, 0) * 255).round().astype(np.uint8)
    data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    theirs = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].astype(float)
    start = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32) / 255)[None]
    ours = 255 * through_jpeg(start, np.array([quality]))[0].numpy().transpose(1, 2, 0)
    change = np.abs(theirs - image).mean()
    assert np.abs(ours - image).mean() == pytest.approx(change, rel=0.15)
    assert np.abs(ours - theirs).mean() < 0.4 * change


def test_noise_is_normal_and_follows_from_its_seed_alone():
    noise = hashed_noise(np.array([3, 7]), (3, 84, 112), CPU)
    assert noise.mean().abs() < 0.02
    assert noise.std() == pytest.approx(1, abs=0.02)
    assert ((noise.abs() > 2).float().mean()) == pytest.approx(0.0455, abs=0.005)
    assert np.corrcoef(noise.flatten(1).numpy())[0, 1] == pytest.approx(0, abs=0.02)
    a, b = noise[..., :-1].flatten().numpy(), noise[..., 1:].flatten().numpy()
    assert np.corrcoef(a, b)[0, 1] == pytest.approx(0, abs=0.02)
    torch.testing.assert_close(hashed_noise(np.array([7]), (3, 84, 112), CPU)[0], noise[1])


def test_strong_looks_take_effect(rooms):
    mild = SampleConfig(views_per_batch=2, view_counts=(1,), sizes=((42, 56),), augment=True)
    scenes = [SceneSet("rooms", rooms)]
    means = [
        np.std([float(Sampler(scenes, replace(mild, strong_looks=share), 0)[i].images.mean()) for i in range(30)])
        for share in (0.0, 1.0)
    ]
    assert means[1] > 1.2 * means[0]
