# SPDX-License-Identifier: Apache-2.0
"""Rooms rendered on the fly: what a step sees follows from its number, whoever renders it."""

from needs import needs

needs("lightning_fabric", "moderngl", "safetensors", "torch", "tqdm")

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from run_files import losses

from da3_training.config import DataConfig, RuntimeConfig, StudioConfig
from da3_training.data.batch import SKY, VALID
from da3_training.data.develop import develop
from da3_training.data.samples import Sampler, draw
from da3_training.run import trainer
from da3_training.studio import crew as crew_module
from da3_training.studio.crew import Crew
from da3_training.studio.lanes import Lane, Lanes
from da3_training.studio.slots import Slots, slot_size
from da3_training.studio.sources import open_studio

pytestmark = [pytest.mark.usefixtures("egl"), pytest.mark.timeout(300)]
TENSORS = ("pictures", "depth", "marks", "intrinsics", "pose", "metric")


@pytest.fixture(scope="module")
def imported():
    """What begins processes as forks of one that has imported what takes them seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "da3_training.studio.crew", "da3_training.studio.lanes"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        forkserver.ensure_running()
    return context


@pytest.fixture(autouse=True)
def quick(request, imported, monkeypatch):
    """Crews of such processes, but for tests that ask for `anew`: as in use."""
    if "anew" not in request.fixturenames:
        monkeypatch.setattr(crew_module, "multiprocessing", SimpleNamespace(get_context=lambda _: imported))


@pytest.fixture
def anew():
    """Crews of processes that start from nothing."""


@pytest.fixture
def studio_config(config, studio_cache):
    """The run of six steps on rooms of shapes and patterns alone."""
    settings = StudioConfig(lanes=2, steps_per_room=3, texture_size=64, slots=2, assets="none", cache=str(studio_cache))
    runtime = replace(config.runtime, workers=1, picture_steps=0)
    return replace(config, data=(DataConfig("studio", ""),), studio=settings, runtime=runtime)


@pytest.fixture
def mixed_config(studio_config, config):
    """Half of the scenes from a folder."""
    return replace(studio_config, data=(*studio_config.data, *config.data))


def lanes_of(config):
    return Lanes(*open_studio(config.data[0], config.studio), config.studio, (config.runtime.seed, 0))


def batches(config, steps, start=0):
    """Copies of the batches that a crew gives."""
    out = []
    with Crew(config) as crew:
        crew.start(start, 0)
        for _ in range(steps):
            raw, slot = crew.take()
            out.append(replace(raw, **{name: getattr(raw, name).clone() for name in TENSORS}))
            crew.give_back(slot)
    return out


def assert_same(a, b):
    for name in TENSORS:
        torch.testing.assert_close(getattr(a, name), getattr(b, name), rtol=0, atol=0)
    np.testing.assert_array_equal(a.looks, b.looks)
    np.testing.assert_array_equal(a.sensors, b.sensors)
    np.testing.assert_array_equal(a.rendered, b.rendered)


def test_views_of_a_sample_see_one_room(studio_config):
    """A surface of the first view lies, in the second, where poses and intrinsics say."""
    samples = replace(studio_config.stages[0].samples, sizes=((84, 112),), augment=False, view_counts=(3,))
    sampler = Sampler([lanes_of(studio_config)], samples, 0)
    agreements = []
    for step in range(6):
        raw = sampler[step]
        depth, k, pose = (t.double().numpy() for t in (raw.depth[0], raw.intrinsics[0], raw.pose[0]))
        np.testing.assert_allclose(pose[0], np.eye(4), atol=1e-6)
        v, u = np.nonzero(depth[0] > 0)
        rays = np.linalg.solve(k[0], np.stack([u, v, np.ones_like(u)]).astype(float))
        world = rays * depth[0][v, u]
        for other in (1, 2):
            seen = np.linalg.inv(pose[other]) @ np.vstack([world, np.ones(len(u))])
            x, y, _ = k[other] @ seen[:3] / seen[2]
            inside = (seen[2] > 0.1) & (x > 0) & (x < 111) & (y > 0) & (y < 83)
            if inside.sum() < 300:
                continue
            there = depth[other][np.rint(y[inside]).astype(int), np.rint(x[inside]).astype(int)]
            agreements.append(np.mean(np.abs(there - seen[2][inside]) < 0.05 * seen[2][inside]))
    assert len(agreements) >= 4
    assert np.median(agreements) > 0.7  # what is hidden in one view is not a third of it


def test_what_is_sky_is_marked_and_far_pixels_are_not_supervised(studio_config):
    sampler = Sampler([lanes_of(studio_config)], replace(studio_config.stages[0].samples, max_depth=2.0), 0)
    raws = [sampler[step] for step in range(4)]
    depth, marks = (torch.cat([getattr(raw, name).flatten() for raw in raws]) for name in ("depth", "marks"))
    torch.testing.assert_close((marks & SKY) > 0, depth == 0)
    torch.testing.assert_close((marks & VALID) > 0, (depth > 0) & (depth < 2.0))
    assert ((marks & VALID) > 0).any()


def test_zoom_takes_effect(studio_config):
    """A field of view of half the width has twice the focal length."""

    def focal(zoom):
        samples = replace(studio_config.stages[0].samples, zoom=(zoom, zoom))
        return Sampler([lanes_of(studio_config)], samples, 0)[0].intrinsics[0, 0, 0, 0]

    torch.testing.assert_close(focal(0.5), 2 * focal(1.0), rtol=0.3, atol=0)  # lenses are drawn after it
    assert focal(0.5) > 1.4 * focal(1.0)


def test_rooms_change_lane_by_lane(studio_config):
    settings = replace(studio_config.studio, lanes=4, steps_per_room=8)
    lanes = [Lane(None, None, None, None, settings, (0,), number) for number in range(4)]
    blocks = np.array([[lane.block(step) for lane in lanes] for step in range(33)])
    changes = np.diff(blocks, axis=0)
    assert (changes.sum(0) == 4).all()
    assert changes.sum(1).max() == 1


def test_a_room_stays_for_its_steps(studio_config, monkeypatch):
    opened = []
    original = Lane._open
    monkeypatch.setattr(Lane, "_open", lambda lane, *a: (opened.append((lane._number, *a)), original(lane, *a))[1])
    sampler = Sampler([lanes_of(studio_config)], studio_config.stages[0].samples, 0)
    for step in range(6):
        sampler[step]
    assert {(lane, block) for lane, block, attempt in opened} == {(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)}


def test_batches_do_not_depend_on_how_many_render_and_where_one_began(mixed_config):
    two = replace(mixed_config, runtime=replace(mixed_config.runtime, workers=2))
    whole = batches(mixed_config, 5)
    for a, b in zip(whole, batches(two, 5), strict=True):
        assert_same(a, b)
    assert_same(whole[4], batches(mixed_config, 1, start=4)[0])
    assert not torch.equal(whole[0].pictures, whole[1].pictures)


def test_weights_share_out_the_scenes(mixed_config):
    made = np.concatenate([raw.rendered for raw in batches(mixed_config, 6)])
    assert 0 < made.sum() < len(made)
    heavy = replace(mixed_config, data=(replace(mixed_config.data[0], weight=1e9), mixed_config.data[1]))
    assert np.concatenate([raw.rendered for raw in batches(heavy, 3)]).all()


def test_a_stage_changes_what_is_rendered(studio_config):
    stage = studio_config.stages[0]
    larger = replace(stage, samples=replace(stage.samples, sizes=((42, 56),), view_counts=(4,)))
    config = replace(studio_config, stages=(replace(stage, until=0.5), larger))
    with Crew(config) as crew:
        crew.start(0, 0)
        raw, slot = crew.take()
        assert raw.depth.shape == (2, 2, 28, 42)
        crew.give_back(slot)
        crew.start(1, 1)
        raw, _ = crew.take()
        assert raw.depth.shape == (1, 4, 42, 56)


def test_slots_hold_the_largest_batch(studio_config):
    samples = replace(
        studio_config.stages[0].samples, views_per_batch=12, view_counts=(1, 3), sizes=((28, 42), (42, 56))
    )
    config = replace(studio_config, stages=(replace(studio_config.stages[0], samples=samples),))
    slots = Slots.allocate(2, slot_size(config))
    for step in range(20):
        drawn = draw(samples, 0, step)
        maps = [slots.maps(slot, drawn) for slot in (0, 1)]
        for number, parts in enumerate(maps):
            for part in parts:
                part.fill_(number + 1)
        assert [[int(p.unique()) for p in parts] for parts in maps] == [[1, 1, 1], [2, 2, 2]]


def test_a_process_that_dies_is_named(studio_config, monkeypatch):
    monkeypatch.setattr(crew_module, "PATIENCE", 0.5)
    with Crew(studio_config) as crew:
        crew.start(0, 0)
        _, slot = crew.take()
        os.kill(crew._members[0].pid, signal.SIGKILL)
        crew.give_back(slot)

        def go_on():
            for _ in range(10):
                crew.give_back(crew.take()[1])

        with pytest.raises(RuntimeError, match="process 0 of the studio ended with code -9"):
            go_on()


def test_what_a_process_fails_of_is_said(mixed_config):
    lost = replace(mixed_config.data[1], labels="nowhere")
    with Crew(replace(mixed_config, data=(mixed_config.data[0], lost))) as crew:
        crew.start(0, 0, labelled=True)
        with pytest.raises(RuntimeError, match="nowhere holds no labels"):
            crew.take()


def test_a_network_trains_on_rooms_without_end_and_resumes_exactly(mixed_config, monkeypatch):
    trainer.train(mixed_config)
    assert sorted(losses(mixed_config)) == list(range(6))
    again = replace(mixed_config, output=mixed_config.output + "_2")
    original, done = trainer._Run._learn, []

    def stop(run, batch, progress):
        done.append(run.step)
        if len(done) == 4:
            raise KeyboardInterrupt
        return original(run, batch, progress)

    monkeypatch.setattr(trainer._Run, "_learn", stop)
    with pytest.raises(KeyboardInterrupt):
        trainer.train(replace(again, runtime=replace(again.runtime, checkpoint_minutes=0.0)))
    trainer.train(again)
    assert done == [0, 1, 2, 3, 3, 4, 5]
    assert losses(again) == pytest.approx(losses(mixed_config), rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lanes": 0}, "studio.lanes is 0"),
        ({"slots": 1}, "one to fill while one is used"),
        ({"assets": "some"}, "allowed: auto, none"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        StudioConfig(**changes)


def test_two_studios_and_labels_beside_one_are_refused(studio_config):
    with pytest.raises(ValueError, match="more than one studio"):
        replace(studio_config, data=studio_config.data * 2)
    with pytest.raises(ValueError, match="beside a studio, or read in any order, do not count"):
        replace(studio_config, data=(*studio_config.data, DataConfig("shards", "x", labels="stored")))
    assert replace(studio_config, runtime=RuntimeConfig()).has_studio


def test_develop_takes_what_a_crew_gives(studio_config, anew):
    batch = develop(batches(studio_config, 1)[0])
    assert batch.images.isfinite().all()
    assert batch.images.std() > 0.2
    assert batch.metric.all()


def test_lanes_take_turns_at_serving_more(studio_config):
    settings = replace(studio_config.studio, lanes=30)
    served = np.zeros((30, 30), int)
    for step in range(30):
        for number in range(48):
            served[step, settings.lane_of(step, number)] += 1
    assert served.max() == 2
    assert set(served.sum(0)) == {48}


def test_too_little_room_is_said_before_it_is_used(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=r"no 1 MB of memory for 2 batches: lower studio\.slots"):
        Slots.allocate(2, 500_000)


def test_processes_that_do_not_answer_are_named(studio_config, monkeypatch):
    for name, value in {"PATIENCE": 0.2, "LEAST_SILENCE": 1.0, "SLOWER": 0.0}.items():
        monkeypatch.setattr(crew_module, name, value)
    with Crew(studio_config) as crew:
        crew.start(0, 0)
        _, slot = crew.take()
        os.kill(crew._members[0].pid, signal.SIGSTOP)
        crew.give_back(slot)

        def go_on():
            for _ in range(10):
                crew.give_back(crew.take()[1])

        with pytest.raises(RuntimeError, match=r"processes \[0\] of the studio have not answered for 1 s"):
            go_on()


def test_a_crew_ends_at_once_and_leaves_nothing(studio_config):
    """However much its processes have still to say, and however who began it ends."""
    runtime = replace(studio_config.runtime, workers=2)
    samples = replace(studio_config.stages[0].samples, views_per_batch=48, view_counts=(1,))
    config = replace(studio_config, runtime=runtime, stages=(replace(studio_config.stages[0], samples=samples),))
    crew = Crew(config)
    crew.start(0, 0)
    crew.take()
    time.sleep(2)
    begun = time.monotonic()
    crew.close()
    assert time.monotonic() - begun < 20, "they waited until somebody reads what they had to say"
    assert not any(member.is_alive() for member in crew._members)


def test_the_processes_end_with_the_one_that_began_them(studio_config, tmp_path):
    code = (
        "import pickle, sys, time\nfrom da3_training.studio.crew import Crew\n"
        "if __name__ == '__main__':\n"
        "    crew = Crew(pickle.load(open(sys.argv[1], 'rb')))\n    crew.start(0, 0)\n    crew.take()\n"
        "    print(*(m.pid for m in crew._members), flush=True)\n    time.sleep(60)\n"
    )
    (tmp_path / "main.py").write_text(code)
    (tmp_path / "config").write_bytes(pickle.dumps(studio_config))
    there = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(tmp_path / "main.py"), str(tmp_path / "config")]
    with subprocess.Popen(command, env=there, stdout=subprocess.PIPE, text=True) as process:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert pids
        process.kill()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
