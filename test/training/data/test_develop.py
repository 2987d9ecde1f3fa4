# SPDX-License-Identifier: Apache-2.0
from needs import needs

needs("safetensors", "torch")

from dataclasses import replace

import numpy as np
import pytest
import torch

from da3_ros.network.model import IMAGE_MEAN, IMAGE_STD
from da3_training.data import camera
from da3_training.data.batch import OBJECT, SKY, SKY_KNOWN, VALID, RawScene, collate
from da3_training.data.camera import COLOUR_RANGE
from da3_training.data.develop import develop
from da3_training.data.exposure import exposed
from da3_training.data.look import plain_looks
from da3_training.scenes.lens import bend
from da3_training.scenes.sensor import Sensor

HEIGHT, WIDTH = 84, 112


def sensor(seed, **changes):
    """A camera without what is drawn by chance in each view, but for `changes`."""
    drawn = Sensor.draw(np.random.default_rng(seed))
    return replace(drawn, **{"exposure_jitter": 0.0, "motion": 0.0, "noise": 0.0, "quality": 100, **changes})


def rendered(seed=0):
    """The root of linear colour (H, W, 3) u8, and depth with sky in a corner (H, W)."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(30, 200, WIDTH)[None, :, None] * rng.uniform(0.3, 1, 3)
    picture = np.repeat(ramp, HEIGHT, 0).astype(np.uint8)
    picture[20:50, 30:60] = rng.integers(20, 200, 3)
    picture[60:80, 10:100] = rng.integers(20, 200, (20, 15, 1)).repeat(6, 1)
    depth = np.repeat(np.linspace(1, 5, WIDTH)[None], HEIGHT, 0).astype(np.float32)
    depth[20:50, 30:60] = 0.8
    depth[:10, :10] = 0
    return picture, depth


def scene(seed=0, made=True, views=2, **changes):
    picture, depth = rendered(seed)
    marks = np.where(depth > 0, VALID, SKY) | SKY_KNOWN | OBJECT
    rows = sensor(seed, **changes).rows(np.random.default_rng(seed), views)
    k = np.array([[80, 0, 55.5], [0, 80, 41.5], [0, 0, 1]], np.float32)
    stacked = (np.stack([a] * views) for a in (picture, depth, marks.astype(np.uint8), k, np.eye(4, dtype=np.float32)))
    return RawScene(*stacked, plain_looks(views), rows if made else np.zeros_like(rows), metric=True, rendered=made)


@pytest.mark.parametrize("seed", range(6))
def test_photos_are_those_of_the_single_camera(seed):
    """The batch's camera against `Sensor.expose`, which takes one picture: within two levels in the mean."""
    camera = sensor(seed)
    picture, depth = rendered(seed)
    linear = COLOUR_RANGE * (picture.astype(np.float32) / 255) ** 2
    single = camera.expose(linear, depth, np.random.default_rng(0))
    rows = camera.rows(np.random.default_rng(0), 1)
    photo, _, _ = exposed(*(torch.from_numpy(a)[None] for a in (picture, depth, (depth > 0).astype(np.uint8))), rows)
    ours = 255 * photo[0].numpy().transpose(1, 2, 0)
    assert single.std() > 15
    assert np.abs(ours - single).mean() < 2


@pytest.mark.parametrize("coefficient", [-0.02, 0.04])
def test_the_lens_bends_colour_depth_and_marks_alike(coefficient):
    picture, depth = rendered()
    marks = np.where(depth > 0, VALID, SKY).astype(np.uint8)
    rows = sensor(0).rows(np.random.default_rng(0), 1, coefficient)
    _, bent, marked = exposed(*(torch.from_numpy(a)[None] for a in (picture, depth, marks)), rows)
    _, expected = bend(picture.astype(np.float32), depth, coefficient)
    assert (bent[0].numpy() == expected).mean() > 0.98  # places that fall between two pixels may round otherwise
    assert not np.array_equal(bent[0].numpy(), depth)
    np.testing.assert_array_equal(marked[0].numpy() == SKY, bent[0].numpy() == 0)


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({"exposure_jitter": 0.3}, camera.GAIN),
        ({"motion": 5.0}, camera.LENGTH),
        ({"noise": 0.03}, camera.NOISE),
        ({"quality": 10}, camera.QUALITY),
        ({"blur": 2.0}, camera.BLUR),
        ({"shade": 0.9}, camera.SHADE),
        ({"vignette": 0.4}, camera.VIGNETTE),
        ({"brightness": 0.1}, camera.BRIGHTNESS),
    ],
)
def test_every_number_of_a_camera_takes_effect(changes, number):
    plain = collate([scene(blur=0.0, shade=0.0, vignette=0.0, brightness=0.3)], posed=False)
    other = collate([scene(**{"blur": 0.0, "shade": 0.0, "vignette": 0.0, "brightness": 0.3, **changes})], posed=False)
    assert not np.array_equal(plain.sensors[..., number], other.sensors[..., number])
    assert (develop(plain).images - develop(other).images).abs().mean() > 0.003


def test_rendered_scenes_and_photos_share_a_batch():
    """Each is treated as if it were alone."""
    parts = [scene(0, made=False), scene(1), scene(2, made=False), scene(3)]
    whole = develop(collate(parts, posed=True, broken=["a"]))
    assert (whole.posed, whole.broken) == (True, ("a",))
    for i, part in enumerate(parts):
        alone = develop(collate([part], posed=True))
        for name in ("images", "depth", "valid", "sky", "sky_known", "alpha", "intrinsics", "pose", "metric"):
            torch.testing.assert_close(getattr(whole, name)[i : i + 1], getattr(alone, name))


def test_photos_are_normalised_and_nothing_else():
    raw = scene(made=False)
    out = develop(collate([raw], posed=False))
    back = out.images[0].numpy().transpose(0, 2, 3, 1) * IMAGE_STD + IMAGE_MEAN
    np.testing.assert_allclose(255 * back, raw.pictures, atol=1e-3)
    np.testing.assert_array_equal(out.depth[0].numpy(), raw.depth)
    np.testing.assert_array_equal(out.sky[0].numpy(), raw.depth == 0)
    np.testing.assert_array_equal(out.valid[0].numpy(), raw.depth > 0)
    assert out.sky_known.all()
    assert out.alpha.all()
