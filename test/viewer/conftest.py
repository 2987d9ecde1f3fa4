# SPDX-License-Identifier: Apache-2.0
"""A stream of Rerun's into a file, and message classes of both kinds."""

import pytest

INSTALL = "the extra `make env EXTRAS=interop` is not installed"


@pytest.fixture(params=["of a bag", "of rclpy"])
def types(request):
    """Message classes: their arrays and bytes differ."""
    from needs import needs

    if request.param == "of a bag":
        needs("rosbags")
        from bags import TYPES

        return TYPES
    needs("rclpy")
    from da3_ros.node.compat import live_types

    return live_types()


@pytest.fixture
def saved(tmp_path):
    """Make a viewer that saves, and read what it saved when it was given all: ``saved(size=64)``, ``saved.read()``."""
    pytest.importorskip("rerun", reason=INSTALL)
    from rrd_files import Rrd

    from da3_ros.stream.viewing import ViewerParameters
    from da3_ros.viewer import Viewer, open_stream

    class Saved:
        def __call__(self, roles=None, **options):
            self.path = tmp_path / "a.rrd"
            where = ViewerParameters("save", str(self.path))
            rr, self.stream = open_stream(where, lambda rr: rr.blueprint.Blueprint(), lambda text: None)
            self.viewer = Viewer(rr, self.stream, roles, **options)
            return self.viewer

        def read(self):
            self.viewer.flush()
            self.stream.disconnect()
            return Rrd(self.path)

    return Saved()


@pytest.fixture
def node(tmp_path):
    """Make a node with a viewer: ``node(["points"], viewer__rate=5.0)``, with the topics that others want."""
    from shown_node import Node

    made = []

    def make(wanted=(), **parameters):
        made.append(Node(wanted, **{"viewer__address": str(tmp_path / "live.rrd"), **parameters}))
        return made[-1]

    yield make
    for each in made:
        each.viewer.close()
