# SPDX-License-Identifier: Apache-2.0
"""``--batch``: which sets go through the engine together, and that nothing else changes."""

from needs import needs

needs("mcap", "rosbags", "scipy")

import bags
import pytest

from da3_ros.bag.errors import BagError
from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.run.reprocess import reprocess


class Noting(bags.CountingEstimator):
    """Notes the sizes of batches."""

    sizes: list = []  # noqa: RUF012
    fails = 0
    """Number of the call of the engine that fails, from 1."""

    def infer(self, tasks):
        self.sizes.append(len(tasks))
        if len(self.sizes) == self.fails:
            raise RuntimeError("out of memory")
        return super().infer(tasks)


def run(source, output, load=None, fails=0, assignments=(), **options):
    """Summary, sizes of the batches, messages."""

    class Fresh(Noting):
        sizes: list = []  # noqa: RUF012

    Fresh.fails = fails
    chosen = Options(pictures=0, **options)
    summary = reprocess(Request(source, output, assignments=assignments, options=chosen), load=load or Fresh)
    return summary, Fresh.sizes, bags.messages(output)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return bags.write_bag(tmp_path_factory.mktemp("long") / "rig", bags.serialised(bags.events(14)))


def test_batches_end_with_their_segment(recording, tmp_path):
    _, sizes, alone = run(recording, tmp_path / "alone")
    assert sizes == [1] * 14
    _, sizes, together = run(recording, tmp_path / "together", batch=4, segment_sets=6)
    assert sizes == [4, 2, 4, 2, 2]
    assert together == alone


def test_a_set_of_another_shape_begins_another_batch(tmp_path):
    broken = bags.START + 3 * bags.PERIOD
    stream = [
        event
        for event in bags.serialised(bags.events(8))
        if not (event[0] == "/right/image_raw" and broken <= event[1] < broken + bags.PERIOD)
    ]
    source = bags.write_bag(tmp_path / "rig", stream)
    incomplete = ("sync.allow_missing:=true",)
    summary, sizes, together = run(source, tmp_path / "out", assignments=incomplete, batch=8)
    assert len(summary["sets"]) == 8
    assert sizes == [3, 1, 4]
    _, sizes, alone = run(source, tmp_path / "alone", assignments=incomplete)
    assert sizes == [1] * 8
    assert together == alone


def test_a_batch_that_fails_costs_its_sets(recording, tmp_path):
    summary, _, _ = run(recording, tmp_path / "out", batch=4, fails=2)
    assert summary["frames"]["left"] == {"received": 14, "used": 10, "dropped": {"engine": 4}}
    assert [record["index"] for record in summary["sets"]] == [*range(4), *range(8, 14)]
    assert any("estimation failed: RuntimeError: out of memory" in issue["text"] for issue in summary["issues"])


@pytest.mark.parametrize("step", ["prepare", "infer", "settle", "finish"])
def test_a_set_that_fails_in_any_step_is_not_counted_as_used(bag, tmp_path, step):
    class Fails(bags.CountingEstimator):
        calls = 0

    def failing(self, *arguments, **options):
        Fails.calls += 1
        if Fails.calls == 2:
            raise RuntimeError("not this one")
        return getattr(bags.CountingEstimator, step)(self, *arguments, **options)

    setattr(Fails, step, failing)
    summary, _, _ = run(bag, tmp_path / "out", Fails, segment_sets=2)
    for camera in ("left", "right"):
        assert summary["frames"][camera] == {"received": 6, "used": 5, "dropped": {"engine": 1}}
    assert [record["index"] for record in summary["sets"]] == [0, 2, 3, 4, 5]


def test_an_interrupted_run_goes_on_with_the_same_batches(recording, tmp_path):
    _, _, whole = run(recording, tmp_path / "whole", batch=3, segment_sets=5)

    class Breaks(bags.CountingEstimator):
        def __call__(self, view_set, *, odometry=False):
            if view_set.views[0].stamp_ns == bags.START + 7 * bags.PERIOD:
                raise KeyboardInterrupt
            return super().__call__(view_set, odometry=odometry)

    with pytest.raises(KeyboardInterrupt):
        run(recording, tmp_path / "out", Breaks, batch=3, segment_sets=5)
    _, sizes, again = run(recording, tmp_path / "out", batch=3, segment_sets=5)
    assert sizes == [3, 2, 3, 1]
    assert again == whole


def test_what_does_not_go_together(bag, tmp_path):
    with pytest.raises(BagError, match="batch = 0; it must be at least 1"):
        Options(batch=0)
    with pytest.raises(BagError, match="leave --batch out"):
        run(bag, tmp_path / "out", batch=2, chunk=4, overlap=2)
