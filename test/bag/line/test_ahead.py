# SPDX-License-Identifier: Apache-2.0
"""``--window-ahead``: sets seen together with later ones, whatever becomes of the run."""

from needs import needs

needs("mcap", "rosbags", "scipy")

import bags
import pytest
from in_threads import put_in_threads

from da3_ros.bag.errors import BagError
from da3_ros.bag.line.orders import AheadReach
from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.run.reprocess import reprocess

STAMPS = [bags.START + i * bags.PERIOD for i in range(20)]


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return bags.write_bag(tmp_path_factory.mktemp("long") / "rig", bags.serialised(bags.events(20)))


def seen(source, output, *assignments, **options):
    """Of each set: the numbers of the sets whose left image the network saw, in order; and its views."""
    estimators = []

    def load(model, config):
        estimators.append(bags.load_fake(model, config))
        return estimators[-1]

    reprocess(Request(source, output, assignments=assignments, options=Options(pictures=0, **options)), load=load)
    sets = [view_set.views for view_set in estimators[0].sets]
    return [[(v.stamp_ns - bags.START) // bags.PERIOD for v in views if v.name == "left"] for views in sets], sets


def test_later_sets_are_seen_and_fewer_at_the_end(bag, tmp_path):
    numbers, sets = seen(bag, tmp_path / "out", window_ahead=2)
    assert numbers == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [4, 5], [5]]
    assert [v.body for v in sets[0]] == [0, 0, 1, 1, 2, 2]
    # A pose in the rig's frame holds for its own moment only, and the results are those of the set itself.
    assert [v.pose is None for v in sets[0]] == [False, False, True, True, True, True]
    found = [m for _, m in bags.read(tmp_path / "out", "/da3/left/depth/image_rect")]
    assert len(found) == 6
    assert numbers != seen(bag, tmp_path / "alone")[0]


def test_earlier_and_later_sets(bag, tmp_path):
    numbers, sets = seen(bag, tmp_path / "out", "sync.window:=1", "odometry_frame:=odom", window_ahead=1)
    assert numbers == [[0, 1], [1, 0, 2], [2, 1, 3], [3, 2, 4], [4, 3, 5], [5, 4]]
    assert [v.body for v in sets[1]] == [0, 0, 1, 1, 2, 2]
    assert all(v.pose is not None for v in sets[1])  # the robot's own motion


def test_spacing(bag, tmp_path):
    numbers, _ = seen(bag, tmp_path / "out", "sync.window_spacing:=0.2", window_ahead=2)
    assert numbers == [[0, 2, 4], [1, 3, 5], [2, 4], [3, 5], [4], [5]]


def test_nothing_beyond_a_jump_in_time(tmp_path):
    late = 30_000_000_000
    first = [(t, n - late, m) for t, n, m in bags.events(3, start=bags.START + late)]
    again = [(t, n + 300_000_000, m) for t, n, m in bags.events(3) if t != "/tf_static"]
    source = bags.write_bag(tmp_path / "loop", bags.serialised([*first, *again]))
    numbers, _ = seen(source, tmp_path / "out", window_ahead=1)
    assert numbers == [[300, 301], [301, 302], [302], [0, 1], [1, 2], [2]]


class Breaks(bags.SeeingEstimator):
    """Ends the run with the set number 10."""

    def __call__(self, view_set, *, odometry=False):
        if view_set.views[0].stamp_ns == STAMPS[10]:
            raise KeyboardInterrupt
        return super().__call__(view_set, odometry=odometry)


@pytest.mark.parametrize("spacing", [0.0, 0.2])
def test_interrupted_and_in_several_processes_it_is_the_same(recording, tmp_path, monkeypatch, spacing):
    """Depth here depends on all that is seen."""
    put_in_threads(monkeypatch)

    def run(name, load=bags.load_seeing, **options):
        chosen = Options(window_ahead=3, pictures=0, outputs=("*", "!/da3/points"), **options)
        assignments = (f"sync.window_spacing:={spacing}",)
        reprocess(Request(recording, tmp_path / name, assignments=assignments, options=chosen), load=load)
        return bags.messages(tmp_path / name)

    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("broken", Breaks, segment_sets=4)
    assert run("broken", segment_sets=4) == whole
    assert run("many", segment_sets=3, processes=2, warm_up=0) == whole
    assert run("warm", segment_sets=4, processes=2, warm_up=3) == whole


def test_it_is_an_option_of_the_job(bag, tmp_path):
    with pytest.raises(BagError, match="window_ahead = -1; it must be at least 0"):
        Options(window_ahead=-1)
    with pytest.raises(BagError, match="a chunk holds later sets already: leave --window-ahead out"):
        reprocess(
            Request(bag, tmp_path / "out", options=Options(chunk=4, overlap=2, window_ahead=1)), load=bags.load_fake
        )
    summary = reprocess(Request(bag, tmp_path / "out", options=Options(window_ahead=1)), load=bags.load_fake)
    assert summary["job"]["options"]["window_ahead"] == 1
    assert "option: window_ahead" in (tmp_path / "out.da3" / "report.html").read_text()


def test_how_far_later_sets_reach():
    reach = AheadReach(2, 100)
    pushed = [(0, True), (50, False), (100, False), (150, False), (200, False), (250, False)]
    assert [reach.push(stamp, estimated=ours, reset=False) for stamp, ours in pushed] == [False] + [True] * 4 + [False]
    reach.push(300, estimated=True, reset=False)
    assert not reach.push(0, estimated=False, reset=True)
