# SPDX-License-Identifier: Apache-2.0
"""What limits training on one GPU: the sums, and a run of everything at the smallest size."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from needs import needs

needs("lightning_fabric", "moderngl", "safetensors", "torch", "tqdm")

import cv2
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("train_rate", "train_rate_sums", "train_rate_idle", "train_rate_supply", "train_rate_demand")


@pytest.fixture
def bench(monkeypatch):
    """The benchmark's folder on the path, and the settings of this process as they were."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmark"), *sys.path])
    monkeypatch.setenv("LP_NUM_THREADS", "1")
    threads = torch.get_num_threads(), cv2.getNumThreads()
    yield
    torch.set_num_threads(threads[0])
    cv2.setNumThreads(threads[1])
    for name in NAMES:
        sys.modules.pop(name, None)


@pytest.fixture
def sums(bench):
    import train_rate_sums

    return train_rate_sums


@pytest.fixture
def supply(sums):
    """3.5 ms of a core for an image, half a view more drawn than kept."""
    return sums.Supply(sums.Timing(90, 0.1), sums.Timing(10, 0), sums.Timing(2.5, 0), images_a_room=100, drawn=1.5)


@pytest.fixture
def demand(sums):
    return sums.Demand(flops=40e9, step_bytes=1e9, develop_bytes=1e8)


def test_timings_are_medians_with_the_spread_of_quartiles(sums):
    timing = sums.Timing.of([8, 9, 10, 11, 12])
    assert (timing.ms, timing.spread, timing.per_core) == (10, pytest.approx(0.15), 100)
    assert sums.Timing.of([3, 1]) == sums.Timing(2, 0)
    assert timing.over(5) == sums.Timing(2, timing.spread)


def test_images_of_a_room_follow_from_the_configuration(sums):
    from da3_training.config import load_config

    path = ROOT / "training" / "rented_gpu" / "nano.yaml"
    config = load_config(path, {"studio.lanes": 32, "studio.steps_per_room": 16})
    assert sums.images_a_room(config) == 192 / 32 * 16
    samples = replace(config.stages[-1].samples, views_per_batch=10, view_counts=(2, 4))  # a range: 10, 9 and 8 images
    assert sums.images_a_room(replace(config, stages=(replace(config.stages[-1], samples=samples),))) == 9 / 2


def test_what_cores_supply(sums, supply):
    assert supply.processor_ms == pytest.approx(3.5)
    assert supply.rate(sums.Assumed(cores=16, gpu_draw_ms=2)) == pytest.approx(15 * 1000 / 6.5)
    assert supply.rate(sums.Assumed(cores=16, gpu_draw_ms=0)) == pytest.approx(15 * 1000 / 3.5)
    # With the longest time for the GPU the target is just supplied.
    for target in (1000, 1500, 5000):
        longest = supply.longest_draw_ms(sums.Assumed(target=target))
        assert 15 * 1000 / (3.5 + 1.5 * longest) == pytest.approx(target)


def test_rooms_that_stand_in_cost_as_much(sums, supply):
    assert replace(supply, rooms=2.0).processor_ms == pytest.approx(4.5)


def test_what_a_gpu_eats(sums, demand):
    assumed = sums.Assumed(tflops=400, utilisation=0.35, bandwidth=3)
    assert demand.rate(assumed, 0.35) == pytest.approx(3500)
    assert demand.rate(assumed, 1.0) == pytest.approx(10000)
    assert demand.memory_rate(assumed) == pytest.approx(5000)  # 0.5 GB of the step in half precision, 0.1 of the looks


@pytest.mark.parametrize(
    ("changed", "first", "second"),
    [
        ({}, "The network waits for rooms 34%", "1500 images/s are supplied, with 54% to spare: up to 4.3 ms"),
        (
            {"gpu_draw_ms": 6},
            "The network waits for rooms 66%",
            "1500 images/s are not supplied, 20% are missing; they",
        ),
        ({"target": 3000}, "The network waits for rooms 34%", "3000 images/s are not supplied, 23% are missing; they"),
        (
            {"target": 9000},
            "The network waits for rooms 34%",
            "9000 images/s are not supplied, 74% are missing, whatever",
        ),
        (
            {"cores": 31},
            "The rooms wait for the network 24%",
            "1500 images/s are supplied, with 208% to spare: up to 11.0",
        ),
        ({"tflops": 100}, "The rooms wait for the network 62%", "1500 images/s are supplied, with 54% to spare"),
        ({"bandwidth": 0.6}, "The rooms wait for the network 57%", "1500 images/s are supplied, with 54% to spare"),
    ],
)
def test_the_verdict_follows_the_figures(sums, supply, demand, changed, first, second):
    lines = sums.verdict(supply, demand, sums.Assumed(**changed))
    assert lines[0].startswith(first)
    assert lines[1].startswith(second)


def test_the_verdict_says_what_would_change_it(sums, supply, demand):
    lines = sums.verdict(supply, demand, sums.Assumed())
    assert lines[2].startswith("Of 6.50 ms an image, rooms take 15%, cameras and copies 38%, the GPU's driver 46%")
    assert "would make it 2500 images/s; the other way round 2000" in lines[3]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"cores": 1}, "cores is 1"), ({"gpu_draw_ms": -1}, "gpu-draw-ms is -1"), ({"target": 0}, "target")],
)
def test_impossible_assumptions_are_refused(sums, wrong, said):
    with pytest.raises(ValueError, match=said):
        sums.Assumed(**wrong)


def test_bytes_are_those_of_operators_but_not_of_views(bench):
    from train_rate_demand import Traffic

    x = torch.zeros(100)
    with Traffic() as traffic:
        y = x.view(10, 10).transpose(0, 1)
    assert traffic.bytes == 0
    with Traffic() as traffic:
        y = x + 1
    assert traffic.bytes == 800
    with Traffic() as traffic:
        y.add_(x[:1].expand(100))  # read and written, beside one number
    assert traffic.bytes == 804


@pytest.fixture
def egl():
    """Skips where nothing renders."""
    import moderngl

    try:
        moderngl.create_standalone_context(backend="egl").release()
    except Exception as error:  # moderngl raises a bare Exception without EGL
        pytest.skip(f"no EGL renderer ({error}): apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri")


@pytest.fixture
def few(monkeypatch):
    """Few procedural textures: those of a whole bank take ten seconds."""
    from da3_training.scenes import textures

    monkeypatch.setattr(textures, "PROCEDURAL", dict.fromkeys(("wall", "floor", "surface", "picture"), 4))


@pytest.fixture
def settings(micro, tmp_path):
    """Overrides of the rented machine's configuration: the micro network, few and small images, nothing but shapes."""
    return [
        f"preset={micro}",
        "stages.0.samples.sizes=[[28, 42], [42, 28]]",
        "stages.0.samples.view_counts=[1, 2]",
        "stages.0.samples.views_per_batch=8",
        "studio.lanes=2",
        "studio.steps_per_room=2",
        "studio.texture_size=16",
        f"studio.cache={tmp_path / 'cache'}",
        "matching={weight: 0.2, block: 3, heads: 2, flow: 1.0}",
    ]


@pytest.mark.usefixtures("egl", "few")
def test_a_device_that_does_nothing_gives_the_scenes_that_were_drawn(bench, settings, tmp_path):
    from train_rate import CONFIG
    from train_rate_idle import IdleRenderer, RecordingRenderer
    from train_rate_supply import Walk

    from da3_training.cli.train import parse_overrides
    from da3_training.config import load_config
    from da3_training.scenes.sources import open_assets
    from da3_training.studio.lanes import Lanes
    from da3_training.studio.slots import Slots, slot_size

    config = load_config(CONFIG, parse_overrides(settings))
    assets = open_assets("train", tmp_path / "cache", assets=False)
    slots = Slots.allocate(1, slot_size(config))
    slots.close()
    recorder = RecordingRenderer()
    first = Walk(config, Lanes(*assets, config.studio, (0,), recorder), 4, slots)
    first.go(keep=True)
    idle = IdleRenderer(iter(recorder.views))
    second = Walk(config, Lanes(*assets, config.studio, (0,), idle), 4, slots)
    second.go(keep=True)
    assert first.images == second.images > 8
    assert len(recorder.views) >= first.images
    for (_, ours), (_, theirs) in zip(first.kept, second.kept, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
            assert (a.depth > 0).any()
    with pytest.raises(RuntimeError, match="not drawn before"):
        Walk(config, Lanes(*assets, config.studio, (0,), idle), 1, slots).go()


@pytest.mark.usefixtures("egl", "few")
def test_everything_is_measured(bench, settings, tmp_path, capsys, monkeypatch):
    import train_rate

    write, measure = train_rate.write_photos, train_rate.measure
    monkeypatch.setattr(train_rate, "write_photos", lambda folder, samples, views: write(folder, 2, views))

    def run(*options):
        file = tmp_path / "rate.json"
        # Settings come before options and after them.
        few = ["--rooms", "1", "--steps", "1", "--repeat", "1", "--json", str(file)]
        code = train_rate.main([*settings[:3], *few, *settings[3:], *options])
        return code, capsys.readouterr().out, json.loads(file.read_text())

    measured = []
    monkeypatch.setattr(train_rate, "measure", lambda *a: measured.append(measure(*a)) or measured[0])
    code, said, found = run("--target", "0.01")
    assert code == 0
    assert "none, shapes and patterns alone" in said
    assert all(line in said for line in found["verdict"])
    assert len(found["rows"]) == 9
    for row in found["rows"]:
        assert row["ms"] > 0
        digits = ".0f" if row["ms"] >= 100 else ".3g"
        assert f"| {row['part']} | {row['ms']:{digits}} |" in said
    assert found["supply"]["images_a_room"] == 8 / 2 * 2
    assert found["supply"]["drawn"] >= 1
    assert found["demand"]["flops"] > 1e6
    assert found["demand"]["step_bytes"] > found["demand"]["develop_bytes"] > 28 * 42 * 3 * 4
    # What is printed is what the sums make of what was measured.
    s = found["supply"]
    own = s["rooms"] * (s["room"]["ms"] + s["textures"]["ms"]) / s["images_a_room"] + s["cameras"]["ms"]
    assert found["images_a_second"]["supplied"] == pytest.approx(15 * 1000 / (own + s["drawn"] * 2))
    assert found["images_a_second"]["eaten_at_best"] == pytest.approx(400e12 / found["demand"]["flops"])
    monkeypatch.setattr(train_rate, "measure", lambda *_: measured[0])
    code, said, slower = run("--gpu-draw-ms", "1e6", "--target", "10")
    assert code == 1
    assert "10 images/s are not supplied" in said
    assert slower["images_a_second"]["supplied"] < 0.02
