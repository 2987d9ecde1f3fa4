# SPDX-License-Identifier: Apache-2.0
"""Each stage by itself, on the jobs of a recording and with orders by hand."""

from needs import needs

needs("mcap", "rosbags", "scipy")

import dataclasses

import bags
import numpy as np
import pytest

from da3_ros.bag.io.reader import Message, Recording
from da3_ros.bag.line import stages as module
from da3_ros.bag.line.intake import Intake
from da3_ros.bag.line.item import Item
from da3_ros.bag.line.orders import Order
from da3_ros.bag.line.stages import Stages
from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.plan.plan import make_plan
from da3_ros.messages import encode_transform, stamp_to_ns
from da3_ros.stream.diagnostics import ERROR, WARN, Health
from da3_ros.sync import FrameCounters

DO = Order(write=True, estimate=True)


class Noting(bags.CountingEstimator):
    """Notes what is asked of it."""

    def __init__(self):
        super().__init__("m", None)
        self.calls, self.fails = [], ""

    def reset(self):
        self.calls.append("reset")
        super().reset()

    def recall(self, memory):
        self.calls.append(("recall", memory))
        super().recall(memory)

    def infer(self, tasks):
        if self.fails == "infer":
            raise RuntimeError("no memory")
        self.calls.append(("infer", len(tasks)))
        return super().infer(tasks)

    def finish(self, settled):
        if self.fails == "finish":
            raise RuntimeError("no memory")
        return super().finish(settled)


class Bench:
    """Stages over a recording, whose jobs may be changed before they are done."""

    def __init__(self, source, output, *assigned, stride=0, **options):
        self.recording = Recording(source).__enter__()
        request = Request(source, output, assignments=("cloud.rate:=0", *assigned), options=Options())
        self.plan = make_plan(self.recording, request)
        names = self.plan.parameters.names
        self.health = Health(names, lambda level, text: None, keep_s=float("inf"))
        self.estimator, self.recollected, self.saved = Noting(), [], []
        self.stages = Stages(
            self.recording, self.plan, self.estimator, self.health, self.recollect, stride, self.save, **options
        )
        intake = Intake(
            self.recording, self.plan.parameters, self.health, FrameCounters(names),
            static=self.plan.static, moving=self.plan.moving,
        )  # fmt: skip
        self.jobs = list(intake)

    def recollect(self, number):
        self.recollected.append(number)
        return {"window": [], "estimator": 77, "outputs": None}

    def save(self, name, data):
        self.saved.append((name, data[:2]))

    def do(self, *orders):
        """Every job with its order, the last one for all that follow, one stage after the other."""
        s = self.stages
        items = [Item(job, orders[min(i, len(orders) - 1)]) for i, job in enumerate(self.jobs)]
        items = list(s.infer(s.prepare(map(s.see, items))))
        return [s.publish(s.finish(s.settle(item))) for item in items]

    def said(self):
        return {key: (issue.text, issue.level) for key, issue in self.health.issues().items()}


@pytest.fixture
def make(bag, tmp_path):
    made = []

    def bench(*assigned, source=bag, **options):
        made.append(Bench(source, tmp_path / "out", *assigned, **options))
        return made[-1]

    yield bench
    for one in made:
        one.recording.__exit__()


def written(items):
    return [len(item.outputs) > 0 for item in items if item.job.frames is not None]


def with_raw(message, raw):
    return message._replace(raw=raw)


def changed(message, kind, change):
    """The message as another one."""
    content = bags.STORE.deserialize_cdr(message.raw, kind)
    change(content)
    return with_raw(message, bytes(bags.STORE.serialize_cdr(content, kind)))


def test_sets_become_messages_and_a_record(make):
    bench = make()
    items = bench.do(DO)
    assert written(items) == [True] * 6
    for index, item in enumerate(items[:6]):
        topics = [topic for topic, _ in item.outputs]
        assert {"/da3/left/depth/image_rect", "/da3/right/pose", "/da3/points"} <= set(topics)
        assert "/da3/left/points" not in topics  # which nobody asked for
        assert (item.record["index"], item.record["log_ns"]) == (index, item.job.log_ns)
        assert (item.work, item.frames, item.memory, item.revoked) == (None, item.frames, None, [])
    depth = next(data for topic, data in items[3].outputs if topic == "/da3/left/depth/image_rect")
    message = bags.STORE.deserialize_cdr(bytes(depth), "sensor_msgs/msg/Image")
    assert stamp_to_ns(message.header.stamp) == bags.START + 3 * bags.PERIOD
    assert bench.said() == {}
    assert bench.saved == []


def test_the_network_sees_the_pictures_of_the_recording(make):
    bench = make()
    bench.do(DO)
    for index, view_set in enumerate(bench.estimator.sets):
        for view in view_set.views:
            np.testing.assert_array_equal(view.image, bags.picture(index, view.name))
            assert view.camera is not None
            assert view.pose is not None


def test_what_is_only_looked_at_is_seen_by_others_and_not_estimated(make):
    bench = make(window_ahead=1)
    look = Order(write=False, estimate=False, see=True)
    items = bench.do(DO, look, DO, look, DO)
    assert [len(view_set.views) for view_set in bench.estimator.sets] == [4, 4, 4, 2]
    assert written(items) == [True, False, True, False, True, True]
    assert [item.record is None for item in items[:6]] == [False, True, False, True, False, False]
    assert [len(item.views) for item in items[:6]] == [2] * 6


def test_what_is_passed_over_leaves_what_later_sets_need(make):
    bench = make()
    skip = Order(write=False, estimate=False)
    items = bench.do(skip, skip, skip, DO)
    assert len(bench.estimator.sets) == 3
    assert written(items) == [False] * 3 + [True] * 3
    assert all(view.pose is not None and view.camera is not None for s in bench.estimator.sets for view in s.views)
    assert (items[0].job.transforms, items[0].job.infos) == ([], [])
    assert bench.said() == {}


def test_of_references_that_are_passed_over_calibrations_last_and_others_are_all_kept_for_a_while(make):
    bench = make()
    plan = dataclasses.replace(bench.plan, references={"/d": "depth", "/d_info": "info"})
    s = Stages(bench.recording, plan, bench.estimator, bench.health, bench.recollect, 0, bench.save)
    skip, last = Order(write=False, estimate=False), bench.jobs[5]
    for number, job in enumerate(bench.jobs[:5]):
        job.references = [Message(topic, job.log_ns, b"%d" % number) for topic in ("/d", "/d_info")]
        s.see(Item(job, skip))
    s.see(Item(last, DO))
    assert [(m.topic, m.raw) for m in last.references] == [("/d_info", b"4"), *(("/d", b"%d" % n) for n in range(5))]


def test_sets_to_warm_up_are_estimated_and_not_written(make):
    bench = make(stride=1)
    items = bench.do(Order(write=False, estimate=True))
    assert len(bench.estimator.sets) == 6
    assert written(items) == [False] * 6
    assert bench.saved == []


def test_pictures_are_of_every_so_many_sets(make):
    bench = make(stride=4)
    bench.do(DO)
    assert sorted(bench.saved) == [
        (f"{index:08d}_{name}.jpg", b"\xff\xd8") for index in (0, 4) for name in ("left", "right")
    ]


def test_a_run_goes_on_with_what_each_part_remembers(make, monkeypatch):
    given = []
    bench = make()
    monkeypatch.setattr(bench.stages._outputs, "recall", lambda memory: given.append(("outputs", memory)))
    monkeypatch.setattr(bench.stages._pipeline.window, "recall", lambda memory: given.append(("window", memory)))
    bench.do(DO, Order(write=True, estimate=True, recall=3), DO)
    assert bench.recollected == [3]
    assert given == [("window", []), ("outputs", None)]
    assert [call for call in bench.estimator.calls if call[0] != "infer"] == [("recall", 77)]


def test_a_new_beginning_forgets_in_each_part(make, monkeypatch):
    given = []
    bench = make("sync.window:=1")
    monkeypatch.setattr(bench.stages._outputs, "recall", given.append)
    bench.do(DO, DO, Order(write=True, estimate=True, fresh=True), DO)
    assert given == [None]
    assert bench.estimator.calls.count("reset") == 1
    assert [len(view_set.views) for view_set in bench.estimator.sets] == [2, 4, 2, 4, 4, 4]


def test_a_jump_in_time_forgets_all_but_when_the_cloud_was_due(make, monkeypatch):
    given = []
    bench = make("sync.window:=1")
    monkeypatch.setattr(bench.stages._outputs, "recall", given.append)
    bench.jobs[3].reset = True
    bench.do(DO)
    assert given == []
    assert bench.estimator.calls.count("reset") == 1
    assert [len(view_set.views) for view_set in bench.estimator.sets] == [2, 4, 4, 2, 4, 4]
    bench = make()
    bench.jobs[3].reset = True
    bench.do(Order(write=False, estimate=False))  # of what is not estimated nothing was learnt
    assert bench.estimator.calls == []


def test_each_part_adds_what_it_remembers_after_the_last_set_of_a_segment(make):
    bench = make("sync.window:=1")
    items = bench.do(DO, Order(write=True, estimate=True, last=True), DO)
    assert [item.memory is None for item in items[:6]] == [True, False, True, True, True, True]
    memory = items[1].memory
    assert set(memory) == {"window", "estimator", "outputs"}
    state = Noting()
    for view_set in bench.estimator.sets[:2]:
        state(view_set)
    assert memory["estimator"] == state.state
    assert len(memory["window"]) == 1
    assert memory["outputs"] is not None


@pytest.mark.parametrize("step", ["infer", "finish"])
def test_what_the_engine_fails_on_is_dropped(make, step):
    bench = make(batch=2)
    bench.estimator.fails = step
    items = bench.do(DO)
    assert written(items) == [False] * 6
    for item in items[:6]:
        assert sorted(item.revoked) == [("left", "engine"), ("right", "engine")]
        assert item.work is None
    assert bench.said() == {("", "engine"): ("estimation failed: RuntimeError: no memory", ERROR)}


def test_several_sets_go_through_the_engine_at_once(make):
    bench = make(batch=4)
    assert written(bench.do(DO)) == [True] * 6
    assert bench.estimator.calls == [("infer", 4), ("infer", 2)]


@pytest.mark.parametrize(
    ("part", "kind", "camera"), [("transforms", "transform", ""), ("infos", "calibration", "left")]
)
def test_messages_that_cannot_be_read_cost_themselves(make, part, kind, camera):
    bench = make()
    found = getattr(bench.jobs[0], part)
    message = found[0] if part == "transforms" else dict(found)["left"]
    bad = with_raw(message, message.raw[:-5])
    found.insert(0, bad if part == "transforms" else ("left", bad))
    assert written(bench.do(DO)) == [True] * 6
    text, level = bench.said()[camera, f"unreadable {kind}"]
    assert text.startswith(f"{message.topic}: a message of {len(message.raw) - 5} bytes cannot be read (")
    assert text.endswith("); it is left out")
    assert level == ERROR


def test_an_image_that_cannot_be_read_costs_its_frame(make):
    bench = make()
    frames = bench.jobs[2].frames
    left = frames.frames[0]
    cut = dataclasses.replace(left, payload=with_raw(left.payload, left.payload.raw[:-7]))
    bench.jobs[2].frames = dataclasses.replace(frames, frames=(cut, frames.frames[1]))
    items = bench.do(DO)
    assert items[2].revoked == [("left", "image")]
    topics = {topic for topic, _ in items[2].outputs}
    assert "/da3/left/pose" not in topics
    assert "/da3/right/pose" in topics
    text = bench.said()["left", "image"][0]
    assert text.startswith(f"/left/image_raw: {len(cut.payload.raw)} bytes cannot be read as its type (")
    assert text.endswith("; the recording is damaged here: the frame is left out")


def test_a_transform_that_is_no_motion_is_told_of(make):
    bench = make()
    bad = encode_transform(bags.TYPES, np.eye(4), bags.TYPES.header(bags.START, "same"), "same")
    raw = bytes(
        bags.STORE.serialize_cdr(bags.TYPES["tf2_msgs/msg/TFMessage"](transforms=[bad]), "tf2_msgs/msg/TFMessage")
    )
    bench.jobs[0].transforms.append(with_raw(bench.jobs[0].transforms[0], raw))
    bench.do(DO)
    text, level = bench.said()["", "transform"]
    assert text.startswith("same -> same: parent 'same' and child 'same' of a transform")
    assert level == WARN


def set_images(bench, change):
    """Change every image of the left camera."""
    for job in bench.jobs:
        if job.frames is not None:
            left, right = job.frames.frames
            left = dataclasses.replace(left, payload=changed(left.payload, "sensor_msgs/msg/Image", change))
            job.frames = dataclasses.replace(job.frames, frames=(left, right))


def test_what_had_to_be_assumed_of_an_image_is_said(make):
    def as_opencv_names_it(image):
        image.encoding = "8UC3"
        image.data = np.ascontiguousarray(np.reshape(image.data, (-1, 3))[:, ::-1]).ravel()

    bench = make()
    set_images(bench, as_opencv_names_it)
    assert written(bench.do(DO)) == [True] * 6
    text = "/left/image_raw: encoding 8UC3 does not tell the order of colours: taken for bgr8"
    assert bench.said() == {("left", "encoding"): (text, WARN)}
    np.testing.assert_array_equal(bench.estimator.sets[4].views[0].image, bags.picture(4, "left"))


def test_an_image_that_is_no_picture_is_told_of_as_live(make):
    def as_depth(image):
        image.encoding = "16UC1"

    bench = make()
    set_images(bench, as_depth)
    items = bench.do(DO)
    assert [item.revoked for item in items[:6]] == [[("left", "image")]] * 6
    assert bench.said()["left", "image"][0].startswith("/left/image_raw: encoding '16UC1' is depth, or 16-bit values")


@pytest.mark.parametrize("in_one_step", [True, False])
def test_the_stage_that_computes_is_the_foremost_one(make, monkeypatch, in_one_step):
    bench, made = make(), []
    monkeypatch.setattr(
        module, "assembly_line", lambda items, *stages, **options: made.append((items, stages, options))
    )
    if not in_one_step:
        bench.stages._estimator = object()
    bench.stages.line("items")
    items, stages, options = made[0]
    assert items == "items"
    assert [stage.__name__ for stage in stages] == ["see", "prepare", "infer", "settle", "finish", "publish"]
    assert options == {"foremost": stages[3] if in_one_step else stages[2]}
