# SPDX-License-Identifier: Apache-2.0
"""The page that the demo makes of what it recorded."""

from needs import needs

needs("mcap", "rosbags", "scipy", "tqdm")

import base64
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from da3_ros.geometry import CameraModel

DEMO = Path(__file__).resolve().parents[2] / "tools" / "demo"


@pytest.fixture
def demo(monkeypatch):
    """Modules of the demo, whose names are not to stay in the way of others."""
    for path in DEMO.glob("*.py"):  # as other programs' modules may be called
        monkeypatch.delitem(sys.modules, path.stem, raising=False)
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(DEMO))
    import pages
    import score

    yield SimpleNamespace(pages=pages, score=score)
    for name in set(sys.modules) - before:
        path = getattr(sys.modules[name], "__file__", None)
        if path and Path(path).parent == DEMO:
            del sys.modules[name]


def scenario_of(frames):
    """Two cameras side by side that see grey; z of their body is up."""
    model = CameraModel.pinhole(80, 60, 70.0, 70.0, 39.5, 29.5)
    base = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0.5], [0, 0, 0, 1.0]])
    image = np.full((60, 80, 3), 120, np.uint8)
    names = ("left", "right")
    frame = dict.fromkeys(names, image)
    rig = SimpleNamespace(
        cameras=dict.fromkeys(names, model), poses=dict.fromkeys(names, base), frames=[frame] * frames
    )
    return SimpleNamespace(title="Two <cameras>", load=lambda: rig), rig


def scores(**changes):
    values = {"cameras": 2, "received": 3, "sent": 4, "rate": 1.5, "metric": (0.05, 0.9), "scale_source": "rig"}
    return SimpleNamespace(**{**values, **changes})


def test_the_page_shows_each_set_that_came(demo, tmp_path):
    scenario, rig = scenario_of(4)
    out = demo.score.Outputs()
    for frame in (0, 1, 3):
        out.depth[frame] = dict.fromkeys(rig.cameras, np.full((30, 40), 2.0 + frame, np.float32))
        out.confidence[frame] = dict.fromkeys(rig.cameras, np.full((30, 40), 2.0, np.float32))
        out.poses[frame] = rig.poses
    out.stddev[0] = dict.fromkeys(rig.cameras, np.full((30, 40), 0.02, np.float32))
    out.depth[2] = {"left": np.ones((30, 40), np.float32)}  # the other one was lost
    (path,) = demo.pages.write(scenario, out, scores(), 500_000_000, tmp_path)
    text = path.read_text(encoding="utf-8")
    assert "<title>Two &lt;cameras&gt;</title>" in text
    data = json.loads(re.search(r'id="scene3d-data">(.*?)</script>', text, re.S)[1])
    about = data["about"]
    assert [(each["index"], each["seconds"]) for each in about["moments"]] == [(0, 0), (1, 0.5), (3, 1.5)]
    assert about["up"] == [0, 0, 1]
    assert about["unit"] == "m"
    assert about["doubt"]["kind"] == "stddev"
    assert about["doubt"]["unknown"] == 2 * 2 * 30 * 40
    positions = np.frombuffer(base64.b64decode(data["positions"]), np.uint16).reshape(-1, 4)
    begin, count = about["moments"][2]["points"]
    assert count == 2 * 30 * 40
    assert (positions[begin : begin + count, 0] == 65535).all()  # 5 m ahead, the farthest
    assert (positions[: about["moments"][0]["points"][1], 0] == 0).all()
    (path,) = demo.pages.write(scenario, out, scores(scale_source="none"), 500_000_000, tmp_path)
    assert "units of each set, not metres" in path.read_text(encoding="utf-8")


def test_no_page_of_nothing(demo, tmp_path):
    assert demo.pages.write(scenario_of(1)[0], demo.score.Outputs(), scores(received=0), 1, tmp_path) == []
    assert list(tmp_path.iterdir()) == []
