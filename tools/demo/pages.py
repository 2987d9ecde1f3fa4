# SPDX-License-Identifier: Apache-2.0
"""The recording of a run as a page with a 3D view: the same that the report of `da3 bag` has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scenarios import Rig, Scenario
from score import Outputs, Scores

from da3_ros.bag.report.elements import facts, page, section
from da3_ros.bag.report.viewer import scene_html
from da3_ros.bag.scene.shown import ALONE, one_by_one
from da3_ros.estimation import PoseEstimate, ViewEstimate
from da3_ros.estimation.resize import resize


def write(scenario: Scenario, out: Outputs, scores: Scores, period_ns: int, folder: Path) -> list[Path]:
    """Write ``view.html``; returns the paths (none when nothing was received)."""
    rig = scenario.load()
    complete = sorted(i for i, views in out.depth.items() if len(views) == len(rig.cameras) and i in out.confidence)
    chosen = complete[:: max(1, -(-len(complete) // ALONE))]
    sets = {i: _views(rig, out, i, period_ns) for i in chosen}
    scene = one_by_one(
        sets,
        {i: i * period_ns / 1e9 for i in chosen},
        of=len(complete),
        why="the demo follows no motion",
        metric=scores.scale_source != "none",
        is_ros_frame=True,  # base_link
        images={i: [np.ascontiguousarray(rig.frames[i][view.name]) for view in views] for i, views in sets.items()},
    )
    if scene is None:
        return []
    numbers = [(str(scores.cameras), "cameras"), (f"{scores.received} of {scores.sent}", "sets")]
    numbers += [(f"{scores.rate:.2f} Hz", "rate"), (f"{scores.metric[0]:.3f}", "AbsRel, metric")]
    body = facts(numbers) + section("3D view", scene_html(scene))
    path = folder / "view.html"
    path.write_text(page(scenario.title, body), encoding="utf-8")
    return [path]


def _views(rig: Rig, out: Outputs, frame: int, period_ns: int) -> list[ViewEstimate]:
    """What the node published of a frame, with the images that it was sent; those without a pose or confidence are
    left out.
    """
    views = []
    for name, camera in rig.cameras.items():
        depth, pose = out.depth[frame][name], out.poses.get(frame, {}).get(name)
        confidence = out.confidence[frame].get(name)
        if pose is None or confidence is None:
            continue
        h, w = depth.shape
        image = resize(np.ascontiguousarray(rig.frames[frame][name]), w, h)
        known = PoseEstimate(pose, "calibrated", np.zeros((6, 6)))
        stddev = out.stddev.get(frame, {}).get(name)
        stamp = frame * period_ns
        views.append(ViewEstimate(name, stamp, image, depth, confidence, camera.scaled(w, h), known, stddev))
    return views
