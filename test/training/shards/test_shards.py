# SPDX-License-Identifier: Apache-2.0
"""Shards: what is written comes back, every reader has its part, and a resumed run goes on with the same batches."""

from needs import needs

needs("lightning_fabric", "onnx", "safetensors", "torch", "tqdm", "webdataset")

import functools
import http.server
import json
import shutil
import sys
import threading
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from run_files import losses
from torch.utils.data import DataLoader

from da3_training.cli import main
from da3_training.config import DataConfig
from da3_training.data.develop import develop
from da3_training.data.records import BrokenSampleError, Record
from da3_training.data.samples import SampleConfig, draw
from da3_training.data.stored_labels import SUMMARY
from da3_training.datasets.registry import SceneSet
from da3_training.run import tasks, trainer
from da3_training.shards.codec import ShardView, decode_depth, encode_depth, encode_record, smaller
from da3_training.shards.index import Order, ShardSet
from da3_training.shards.stream import Stream, StreamSampler
from da3_training.shards.writer import ShardOptions, write_shards

SMALL = SampleConfig(views_per_batch=4, view_counts=(1, 2), sizes=((28, 42),), shuffle=4)


@pytest.fixture
def many(rooms):
    """Nine rooms, told apart by their first camera's position."""
    for i in range(2, 9):
        shutil.copytree(rooms / "room_0", rooms / f"room_{i}")
    for i, path in enumerate(sorted(rooms.glob("*/scene.json"))):
        scene = json.loads(path.read_text())
        for view in scene["clusters"][0]["views"]:
            view["K"][0][0] = view["K"][1][1] = 80.0 + i
        path.write_text(json.dumps(scene))
    return SceneSet("rooms", rooms)


@pytest.fixture
def shards(many, tmp_path):
    """Nine samples in several shards."""
    report = write_shards(many, tmp_path / "shards", ShardOptions(megabytes=0.015))
    assert report.samples == 9
    assert 3 <= report.shards <= 9
    assert not report.broken
    return ShardSet(str(tmp_path / "shards"))


def names(samples):
    return [sample[0].key.split("/")[0] for sample in samples]


def test_depth_keeps_its_relative_precision():
    depth = np.geomspace(0.05, 2000, 10_000).astype(np.float32).reshape(100, 100)
    depth[0] = 0
    data, low, high = encode_depth(depth)
    back = decode_depth(data, low, high, "x")
    assert (back[0] == 0).all()
    np.testing.assert_allclose(back[1:], depth[1:], rtol=1e-4)
    assert (decode_depth(*encode_depth(np.zeros((4, 4), np.float32)), "x") == 0).all()


def test_a_record_comes_back_with_its_masks(tmp_path):
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 255, (6, 8, 3), np.uint8), (64, 48))
    valid, sky, alpha = (rng.random((48, 64)) > 0.5 for _ in range(3))
    depth = np.where(valid, rng.uniform(1, 5, (48, 64)), 0).astype(np.float32)
    k = np.array([[60.0, 0, 31.5], [0, 61, 23.5], [0, 0, 1]])
    record = Record(image, depth, valid, sky, alpha, k, np.eye(4), "test", False)
    files, entry = encode_record(record, "a/00_00000", 0, None, depth * 2)
    back = ShardView(files, 0, json.loads(json.dumps(entry)), "s").load()
    for name in ("valid", "sky", "alpha", "intrinsics", "pose", "source", "metric"):
        np.testing.assert_array_equal(getattr(back, name), getattr(record, name))
    np.testing.assert_allclose(back.depth, depth, rtol=1e-4)
    assert np.abs(back.image.astype(int) - image).mean() < 3
    labelled = ShardView(files, 0, entry, "s", labelled=True).load()
    np.testing.assert_allclose(labelled.depth, np.where(sky, 0, depth * 2), rtol=1e-4)
    without = record._replace(sky=None, alpha=None)
    back = ShardView(encode_record(without, "a", 0, None, None)[0], 0, entry, "s").load()
    assert back.sky is None
    assert back.alpha is None


def test_smaller_records_keep_their_points(rooms):
    record = SceneSet("rooms", rooms)[0][0].views[0].load()
    small = smaller(record, 56)
    assert small.image.shape == (42, 56, 3)
    np.testing.assert_allclose(small.intrinsics[0, 0], record.intrinsics[0, 0] / 2)
    assert np.isin(small.depth, record.depth).all()
    assert smaller(record, 0) is record


def test_jpegs_are_stored_as_they_are(shards, many):
    view = next(Stream(shards, 0, 1, (0,), 1, False).start(0))[0]
    room = view.key.split("/")[0]
    assert view.files["00.jpg"] == (many.root / room / "v0.jpg").read_bytes()


@pytest.mark.parametrize(("counts", "streams"), [([3, 3, 3, 3, 1], 2), ([5, 4], 3), ([9], 4)])
def test_the_readers_share_out_every_epoch(counts, streams):
    """With many shards each has its own, with few all have a part of each."""
    for epoch in range(3):
        parts = [Order(counts, i, streams, (7,)).epoch(epoch) for i in range(streams)]
        everything = [place for part in parts for place in part]
        assert sorted(everything) == [(s, i) for s, n in enumerate(counts) for i in range(n)]
    assert Order(counts, 0, streams, (7,)).epoch(0) == Order(counts, 0, streams, (7,)).epoch(0)


def test_epochs_have_different_orders():
    order = Order([1] * 20, 0, 1, (7,))
    assert order.epoch(0) != order.epoch(1)
    assert order.locate(43) == (2, 3)
    with pytest.raises(ValueError, match=r"lower runtime\.workers"):
        Order([2, 1], 0, 4, (7,))


def test_any_place_of_the_stream_is_found_again(shards):
    whole = names(islice(Stream(shards, 0, 1, (3,), 4, False).start(0), 25))
    assert sorted(whole[:9]) == sorted(whole[9:18]) == [f"room_{i}" for i in range(9)]
    assert whole[:9] != whole[9:18]
    for start in range(20):
        assert names(islice(Stream(shards, 0, 1, (3,), 4, False).start(start), 5)) == whole[start : start + 5]
    assert names(islice(Stream(shards, 0, 1, (4,), 4, False).start(0), 25)) != whole


def batches(sampler, count):
    return [develop(batch).images for batch in islice(iter(sampler), count)]


def test_batches_follow_from_seed_and_step(shards):
    whole = batches(StreamSampler([shards], SMALL, 0), 9)
    later = batches(StreamSampler([shards], SMALL, 0, start=5), 4)
    torch.testing.assert_close(later, whole[5:])
    assert not torch.equal(batches(StreamSampler([shards], SMALL, 1), 1)[0], whole[0])


def test_worker_processes_give_the_steps_in_order(shards):
    """A run resumed at an odd step begins with another worker."""

    def load(start, count):
        loader = DataLoader(StreamSampler([shards], SMALL, 0, start=start), batch_size=None, num_workers=2)
        return [develop(batch).images for batch in islice(iter(loader), count)]

    whole = load(0, 6)
    torch.testing.assert_close(load(3, 3), whole[3:])


def test_processes_see_different_scenes(shards):
    config = replace(SMALL, view_counts=(1,), augment=False)
    seen = [
        {float(f) for batch in islice(iter(StreamSampler([shards], config, 0, rank=r, world=2)), 1)
         for f in batch.intrinsics[:, 0, 0, 0]} for r in (0, 1)
    ]  # fmt: skip
    assert all(len(s) == 4 for s in seen)
    assert not seen[0] & seen[1]


def test_weights_take_effect(shards, many, tmp_path):
    write_shards(SceneSet("rooms", many.root), tmp_path / "again", ShardOptions(longest=56))
    sets = [shards, ShardSet(str(tmp_path / "again"))]
    sampler = StreamSampler(sets, SMALL, 0, weights=[1.0, 0.0])
    assert sum(sampler._which(step).sum() for step in range(20)) == 0
    assert len(batches(StreamSampler(sets, SMALL, 0, weights=[1.0, 3.0]), 3)) == 3


def test_broken_shards_and_samples_are_named_and_replaced(shards):
    first = Path(shards.path(shards.shards[0]))
    first.write_bytes(first.read_bytes()[:700])
    second = Path(shards.path(shards.shards[1]))
    second.write_bytes(second.read_bytes().replace(b"\xff\xd8\xff", b"\0\0\0", 1))
    broken = [line for b in islice(iter(StreamSampler([shards], SMALL, 0)), 12) for line in b.broken]
    assert any("000000.tar: sample 0 cannot be read" in line for line in broken)
    assert any("000001.tar" in line and "00.jpg is not a readable image" in line for line in broken)
    again = [line for b in islice(iter(StreamSampler([shards], SMALL, 0)), 12) for line in b.broken]
    assert broken == again


def test_too_many_views_stop_with_advice(shards):
    with pytest.raises(BrokenSampleError, match="view_counts"):
        next(iter(StreamSampler([shards], replace(SMALL, view_counts=(5,)), 0)))


def test_broken_records_are_left_out_and_named(many, tmp_path):
    (many.root / "room_3" / "v1.jpg").write_bytes(b"broken")
    report = write_shards(many, tmp_path / "out", ShardOptions())
    assert (report.samples, report.views) == (9, 26)
    assert "room_3/v1.jpg" in (tmp_path / "out" / "broken.txt").read_text()
    with pytest.raises(ValueError, match="exists: remove it"):
        write_shards(many, tmp_path / "out", ShardOptions())


def test_shards_over_http(shards):
    if shutil.which("curl") is None:
        pytest.skip("webdataset reads http with curl")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=shards.root))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        remote = ShardSet(f"http://127.0.0.1:{server.server_port}/")
        a = batches(StreamSampler([remote], SMALL, 0), 2)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    torch.testing.assert_close(a, batches(StreamSampler([shards], SMALL, 0), 2))


@pytest.fixture
def streamed(config, shards):
    return replace(config, data=(DataConfig("shards", shards.root),), steps=8)


def test_a_run_on_shards_resumes_exactly(streamed, monkeypatch):
    trainer.train(streamed)
    runtime = replace(streamed.runtime, checkpoint_minutes=0.0)
    broken = replace(streamed, output=streamed.output + "_2", runtime=runtime)
    original, calls = tasks.Learner.forward, []

    def die_at_the_sixth(self, batch):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return original(self, batch)

    monkeypatch.setattr(tasks.Learner, "forward", die_at_the_sixth)
    with pytest.raises(KeyboardInterrupt):
        trainer.train(broken)
    monkeypatch.setattr(tasks.Learner, "forward", original)
    trainer.train(broken)
    assert losses(broken) == pytest.approx(losses(streamed), rel=1e-5)


def test_stored_labels_come_into_force_at_the_switch(many, config, tmp_path):
    labels = tmp_path / "labels"
    for scene in range(len(many)):
        for view in many[scene][0].views:
            path = labels / f"{view.key}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, depth=np.full((84, 112), 2.0, np.float16))
    (labels / SUMMARY).write_text("{}")
    write_shards(many, tmp_path / "out", ShardOptions(labels=str(labels)))
    data = (DataConfig("shards", str(tmp_path / "out"), labels="stored"),)
    plain = replace(config, data=data, steps=4)
    switched = replace(plain, output=config.output + "_2", labels_from=2)
    trainer.train(plain)
    trainer.train(switched)
    a, b = losses(plain), losses(switched)
    assert a[0] == b[0]
    assert abs(a[2] - b[2]) > 1e-3
    batch = develop(next(iter(StreamSampler([ShardSet(str(tmp_path / "out"))], SMALL, 0, labelled=[True]))))
    np.testing.assert_allclose(batch.depth[batch.valid], 2.0, rtol=1e-3)


def test_what_does_not_fit_is_refused(streamed, shards, tmp_path):
    with pytest.raises(ValueError, match="write all of them with `da3-train shards`"):
        replace(streamed, data=(*streamed.data, DataConfig("rooms", "rooms")))
    with pytest.raises(ValueError, match="allowed: stored"):
        replace(streamed, data=(DataConfig("shards", "x", labels="labels"),))
    with pytest.raises(ValueError, match=r"da3-train shards --labels"):
        StreamSampler([shards], SMALL, 0, labelled=[True])
    with pytest.raises(FileNotFoundError, match="da3-train shards"):
        ShardSet(str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match="shuffle is 0"):
        next(iter(StreamSampler([shards], replace(SMALL, shuffle=0), 0)))


def test_the_command_writes_them(many, tmp_path, capsys):
    main(["shards", f"rooms={many.root}", str(tmp_path / "out"), "--views", "2"])
    assert "18 samples of 27 views in 1 shards" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="not dataset=folder"):
        main(["shards", "rooms", str(tmp_path / "x")])


def test_shards_train_in_any_order_without_webdataset(config, shards, monkeypatch):
    """As on a machine that lacks it."""
    data = (DataConfig("shards", str(shards.root)),)
    run = replace(config, data=data, local_shards=True)
    for module in [
        name for name in sys.modules if name.split(".")[0] == "webdataset" or name.endswith("shards.stream")
    ]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "webdataset", None)
    trainer.train(run)
    assert sorted(losses(run)) == list(range(6))
    with pytest.raises(ImportError):
        trainer.train(replace(run, output=run.output + "_2", local_shards=False))


def test_single_photographs_in_shards_are_mixed_with_steps_of_several_views(many, shards, tmp_path):
    """A set of single views serves steps of one view alone; a walk among many of them is found in another shard."""
    for i in range(1, 9):
        path = many.root / f"room_{i}" / "scene.json"
        scene = json.loads(path.read_text())
        scene["clusters"] = [{"kind": "single", "views": [view]} for view in scene["clusters"][0]["views"]]
        path.write_text(json.dumps(scene))
    for i, name in ((0, "mixed"), (1, "singles")):
        write_shards(SceneSet("rooms", many.root), tmp_path / name, ShardOptions(megabytes=0.015))
        shutil.rmtree(many.root / f"room_{i}")
    mixed, singles = (ShardSet(str(tmp_path / name)) for name in ("mixed", "singles"))
    assert (shards.most_views, mixed.most_views, singles.most_views) == (3, 3, 1)
    config = replace(SMALL, view_counts=(1, 3))
    sampler = StreamSampler([shards, singles], config, 0, weights=[1.0, 3.0])
    drawn = [(draw(config, 0, step).views, sampler._which(step)) for step in range(80)]
    assert all((which == 0).all() for views, which in drawn if views == 3)
    assert np.concatenate([w for v, w in drawn if v == 1]).mean() == pytest.approx(0.75, abs=0.1)
    alone = replace(SMALL, view_counts=(3,), shuffle=2)
    focal = torch.cat([b.intrinsics for b in islice(iter(StreamSampler([mixed], replace(alone, augment=False), 0)), 6)])
    assert len(focal) == 6
    assert torch.allclose(focal[..., 0, 0], focal[0, 0, 0, 0].expand(6, 3))
    with pytest.raises(BrokenSampleError, match="no shards have 3 views of one place, but 1"):
        next(iter(StreamSampler([singles], alone, 0)))


def test_margins_are_those_of_their_shards(many, tmp_path):
    for path in many.root.glob("*/*.png"):
        depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        depth[:, 56:] *= 2
        cv2.imwrite(str(path), depth)
    write_shards(many, tmp_path / "jumps", ShardOptions())
    sets = [ShardSet(str(tmp_path / "jumps"))]
    whole, cut = (next(iter(StreamSampler(sets, SMALL, 0, margins=[m]))) for m in (0.0, 0.05))
    known = [float((batch.marks & 1).float().mean()) for batch in (whole, cut)]
    assert known[0] == 1 > known[1] > 0.6


def test_shards_of_earlier_versions_do_not_tell_their_views(shards):
    index = Path(shards.path("index.json"))
    content = json.loads(index.read_text())
    del content["most_views"]
    index.write_text(json.dumps(content))
    old = ShardSet(shards.root)
    assert old.most_views is None
    assert len(batches(StreamSampler([old], replace(SMALL, view_counts=(3,)), 0), 3)) == 3
