# SPDX-License-Identifier: Apache-2.0
"""Recordings and runs that several test modules share."""

import pytest


@pytest.fixture(scope="session")
def bag(tmp_path_factory):
    """Six sets of a moving stereo rig, MCAP."""
    import bags

    return bags.write_bag(tmp_path_factory.mktemp("bags") / "rig")


@pytest.fixture(scope="module", autouse=True)
def features():
    """Many runs are of the same recordings."""
    from known_features import remembered

    from da3_ros.bag.motion import chunks
    from da3_ros.estimation.pose import matches

    with remembered(chunks, matches):
        yield


@pytest.fixture(autouse=True)
def _without_a_3d_view(request, monkeypatch):
    """Hundreds of runs here nobody looks at: what their pages show is tested in test/bag/scene and test/bag/report."""
    if request.node.nodeid.startswith(("test/bag/line/", "test/bag/run/")):
        from da3_ros.bag.run import reprocess

        monkeypatch.setattr(reprocess, "write_view", lambda *_: None)


@pytest.fixture
def make(tmp_path):
    """Reprocess a bag with an estimator that has a memory; returns output and summary."""
    import bags

    from da3_ros.bag.plan.options import Options, Request
    from da3_ros.bag.run.reprocess import reprocess

    def run(source, *assignments, name="out", load=bags.load_counting, log=None, restart=False, **options):
        output = tmp_path / name
        logged = {} if log is None else {"log": log}
        request = Request(source, output, assignments=assignments, options=Options(**options))
        return output, reprocess(request, load=load, restart=restart, **logged)

    return run
