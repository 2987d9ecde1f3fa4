# SPDX-License-Identifier: Apache-2.0
from needs import needs

needs("safetensors", "torch")

from dataclasses import replace

import numpy as np
import pytest

from da3_training.data.look import random_look
from da3_training.data.samples import SampleConfig, Sampler
from da3_training.datasets.registry import SceneSet

GREY = np.full((42, 56, 3), 120, np.uint8)


def looks(strong, count=200):
    """Mean colours of a grey image, and how much its brightness varies over the image, under many looks."""
    images = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        images.append(random_look(rng, strong)(GREY, rng).astype(float))
    images = np.stack(images)
    smooth = images.mean(-1).reshape(count, 6, 7, 8, 7).mean((2, 4))
    return images.mean((1, 2, 3)), smooth.std((1, 2))


@pytest.mark.parametrize("strong", [False, True])
def test_a_look_is_an_image_of_the_same_kind(strong):
    rng = np.random.default_rng(0)
    image = random_look(rng, strong)(GREY, rng)
    assert (image.shape, image.dtype) == (GREY.shape, np.uint8)


def test_strong_looks_go_farther_and_light_the_image_unevenly():
    (mild, mild_uneven), (strong, strong_uneven) = looks(False), looks(True)
    assert strong.std() > 1.5 * mild.std()
    assert mild_uneven.max() < 3
    assert np.median(strong_uneven) > 5


def test_colours_change_places_only_in_strong_looks():
    red = np.zeros_like(GREY)
    red[..., 0] = 200

    def brightest(strong):
        seeds = (np.random.default_rng(seed) for seed in range(60))
        return {int(random_look(rng, strong)(red, rng).mean((0, 1)).argmax()) for rng in seeds}

    assert brightest(False) == {0}
    assert brightest(True) == {0, 1, 2}


def test_strong_looks_take_effect(rooms):
    mild = SampleConfig(views_per_batch=2, view_counts=(1,), sizes=((42, 56),), augment=True)
    scenes = [SceneSet("rooms", rooms)]
    means = [
        np.std([float(Sampler(scenes, replace(mild, strong_looks=share), 0)[i].images.mean()) for i in range(30)])
        for share in (0.0, 1.0)
    ]
    assert means[1] > 1.2 * means[0]
