# SPDX-License-Identifier: Apache-2.0
"""The last step of a set: its estimate becomes messages, in the right frames, and what is wrong with it is said."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Sequence

import numpy as np

from da3_ros.estimation import Estimate, RigDeviation, ViewEstimate
from da3_ros.stream.diagnostics import WARN, Health
from da3_ros.stream.outputs import Outputs, PublishedView
from da3_ros.stream.parameters import NodeParameters
from da3_ros.stream.refinements import mismatch
from da3_ros.stream.transforms import TransformError, TransformTree, lookup_or_report
from da3_ros.stream.work import Matrix, Work

LEAST_METRES = 0.02
"""The same, nearer than cameras focus."""
GIVEN = ("calibrated", "odometry")
"""Sources of poses in metres, whatever the unit of depth."""
MOST_METRES = 200.0
"""In one unit of a network: a scene whose mean depth is farther than a LiDAR reaches. Millimetres give thousands."""
ELSEWHERE_DEG = 60.0
"""No calibration is that wrong about where a camera stands: its frame is another one."""
SURE_DEG = 0.5
"""Turns from here on are seen surely."""
MUCH_DEPTH, MUCH_LENGTH = 0.05, 1.5
"""Share of depth that matters, for each degree of the tolerance; factor of distances that no network's errors are."""
MEASURED = ("reference", "given", "camera_height")
"""Sources of metres that have nothing to do with the distances of the cameras."""
ALL_SKY = 0.9
"""A view with a greater share of sky may well have no depth at all."""
_METRES_ONLY = "depth images in millimetres must be 16UC1, floats and clouds are metres (REP-118, REP-103)"


def _rig(first: str) -> str:
    """Kind of the issue of how a camera stands to another one."""
    return f"rig {first}"


def off_calibration(pair: RigDeviation, tolerance_deg: float, scale_source: str) -> str:
    """In words, how two cameras stand otherwise than their calibration has it; empty where they do not.

    tolerance_deg: of any rig; a turn that is well measured and changes depth by much matters below it, too.
    scale_source: what depth has its unit from.
    """
    first, second = pair.cameras
    if pair.is_sure and pair.lasts and pair.direction_deg > max(ELSEWHERE_DEG, 3 * pair.direction_std_deg):
        return (
            f"the images show {second} in another direction from {first} than the transforms do, "
            f"{pair.direction_deg:.0f} deg from it: are the two swapped in TF, or are their frames no optical ones (x "
            "right, y down, z forward)? Correct the transforms, or frame_id of the cameras"
        )
    matters = pair.depth_share > MUCH_DEPTH * tolerance_deg and pair.angle_deg > SURE_DEG
    least = max(min(tolerance_deg, SURE_DEG) if matters else tolerance_deg, 3 * pair.angle_std_deg)
    if pair.is_sure and pair.angle_deg > least:
        share = f", which alone changes depth by {pair.depth_share:.0%}," if pair.depth_share else ""
        if pair.apart_ms:
            turns = f"the images of {first} and {second} are {pair.apart_ms:.0f} ms apart, and show a turn of "
            turns += (
                f"{pair.angle_deg:.1f} deg{share} between them: does the robot turn? Trigger the cameras together, "
            )
            turns += "or set odometry_frame"
            return turns + ("; or, as it lasts, was one bumped? Calibrate anew" if pair.lasts else "")
        return (
            f"{first} and {second} stand {pair.angle_deg:.1f} deg{share} and {pair.distance_m:.3f} m off their "
            "calibration: was one bumped? Calibrate anew, or correct the transforms"
        )
    if scale_source in MEASURED and pair.length and not 1 / MUCH_LENGTH < pair.length < MUCH_LENGTH:
        return (
            f"by the scale from {scale_source} {second} stands {pair.length:.3g} times as far from {first} as the "
            "transforms have it: one of the two is wrong (metres, not millimetres; a moved sensor)"
        )
    return ""


class Presenter:
    """Publishes sets that are estimated, one at a time."""

    def __init__(
        self,
        parameters: NodeParameters,
        outputs: Outputs,
        transforms: TransformTree,
        health: Health,
        now_ns: Callable[[], int],
    ) -> None:
        """now_ns: the clock of the stamps."""
        self._parameters, self._outputs, self._transforms = parameters, outputs, transforms
        self._health, self._now = health, now_ns

    def reconfigure(self, parameters: NodeParameters) -> None:
        """Go by other values of what may change."""
        self._parameters = parameters
        self._outputs.reconfigure(parameters)

    def look_up_fused(self, work: Work) -> None:
        """Where the fused cloud of a set goes, for those who publish it when the transforms may be forgotten."""
        if work.world and self._parameters.fused_frame != work.world and self._outputs.wants_fused():
            stamp_ns = work.sources[0].view.stamp_ns
            with contextlib.suppress(TransformError):  # asked for again, and reported, when the cloud is due
                work.to_fused = self._transforms.lookup(self._parameters.fused_frame, work.world, stamp_ns)

    def publish(self, work: Work) -> dict[str, float]:
        """Send what is subscribed to; returns the milliseconds of every stage."""
        begin = time.perf_counter()
        self._outputs.turn_to(work.frames)
        self._publish(work)
        frames, estimate = work.frames, work.estimate
        stages = {
            **work.estimate.timing,
            "decode": work.decode_ms,
            "publish": (time.perf_counter() - begin) * 1e3,
            "total": (self._now() - min(frame.stamp_ns for frame in frames.frames)) / 1e6,
        }
        offsets, count = {frame.camera: frame.stamp_ns - frames.stamp_ns for frame in frames.frames}, len(work.sources)
        self._health.set_done(offsets, stages, estimate, count)
        self._outputs.publish_latency(stages, frames.stamp_ns)
        self._check(stages["total"], estimate)
        self._check_engine(estimate, count)
        self._check_range(estimate, count)
        self._check_refinement(estimate.views[:count])
        return stages

    def _check(self, latency_ms: float, estimate: Estimate) -> None:
        """Say so when it takes too long, when the rig is not as calibrated, or when the motion is lost."""
        checks = self._parameters.checks
        if 0 < checks.max_latency < latency_ms / 1e3:
            text = (
                f"overloaded: {latency_ms:.0f} ms from stamp to publish, diagnostics.max_latency allows "
                f"{checks.max_latency * 1e3:.0f}; lower inference.size, take a smaller model or fewer cameras"
            )
            self._health.report("", "latency", text, WARN)
        for pair in estimate.rig or ():
            if text := off_calibration(pair, checks.rig_tolerance_deg, estimate.scale.source):
                self._health.report(pair.cameras[1], _rig(pair.cameras[0]), text, WARN, keep_s=2 * checks.rig_period)
            else:
                self._health.resolve(pair.cameras[1], _rig(pair.cameras[0]))
        if checks.rig_period == 0:
            for first, second in itertools.permutations(self._parameters.names, 2):
                self._health.resolve(second, _rig(first))
        if estimate.odometry is not None and estimate.odometry.message:
            self._health.report("", "odometry", estimate.odometry.message, WARN)

    def _check_engine(self, estimate: Estimate, count: int) -> None:
        """Say what the engine said that cannot be; it was left out. count: of the views of this moment."""
        for fault in estimate.faults:
            if fault.index < count:
                self._health.report(fault.view, "engine output", fault.text)

    def _check_range(self, estimate: Estimate, count: int) -> None:
        """Say so where no view of this moment, of which there are `count`, has a single depth in metres that may be
        published, and where the metres of a reference are beyond reason. Relative depth has no range.
        """
        scale, config = estimate.scale, self._parameters.estimator
        if not scale.metric:
            return
        is_reference = scale.source == "reference"
        if is_reference and scale.value < LEAST_METRES:
            text = (
                f"the reference makes one unit of the network {scale.value:.4g} m, and less than {LEAST_METRES:g} m is "
                "no scene: 16UC1 is millimetres, in the byte order that is_bigendian says; 32FC1 and clouds are metres"
            )
            self._health.report("", "reference", text, WARN)
        if is_reference and scale.value > MOST_METRES:
            text = (
                f"the reference makes one unit of the network {scale.value:.4g} m, and more than {MOST_METRES:g} m is "
                f"no scene: is it in millimetres? {_METRES_ONLY}"
            )
            self._health.report("", "reference", text, WARN)
        views = [view for view in estimate.views[:count] if view.sky < ALL_SKY]
        if views and not any(np.isfinite(view.depth).any() for view in views):
            depth = np.concatenate([view.depth.ravel() for view in views])
            far, near = np.isposinf(depth).mean(), np.isneginf(depth).mean()
            remedy = "check what the scale comes from, and min_range, max_range and min_confidence"
            if is_reference:
                remedy += f"; is the reference in millimetres? {_METRES_ONLY}"
            text = (
                f"not one depth can be used: at {scale.value:.4g} m a unit (scale from {scale.source}) {far:.0%} of "
                f"the pixels lie beyond max_range, {near:.0%} nearer than min_range ({config.min_range:g} to "
                f"{config.max_range:g} m), {max(1 - far - near, 0):.0%} have none or too little confidence; {remedy}"
            )
            self._health.report("", "range", text)

    def _check_refinement(self, views: Sequence[ViewEstimate]) -> None:
        """Say so where views do not match at their poses. Too little evidence is normal, and says nothing."""
        off = self._parameters.estimator.refinement.source == "none"
        for view in views:
            if text := mismatch(view.refinement):
                self._health.report(view.name, "refinement", text, WARN)
            elif off:
                self._health.resolve(view.name, "refinement")

    def _publish(self, work: Work) -> None:
        """Publish the views of this moment."""
        estimate, sources, known_world = work.estimate, work.sources, work.world
        parameters, metric = self._parameters, estimate.scale.metric
        in_rig = bool(known_world)
        world = known_world or sources[0].frame_id
        views, fusible = [], []
        for view, source in zip(estimate.views[: len(sources)], sources, strict=True):
            # The scale says nothing about a camera whose intrinsics are guessed.
            has_unit = metric and source.view.camera is not None
            mark = "" if has_unit else parameters.relative_suffix
            pose_mark = "" if view.pose.source in GIVEN else mark
            published = PublishedView(
                estimate=view,
                frame_id=source.frame_id + mark,
                pose_frame=world + pose_mark,
                pose_parent=world,
                child_frame=parameters.tf_prefix + source.frame_id + pose_mark,
                in_unit=has_unit == metric,
                turn=source.turn,
            )
            views.append(published)
            self._outputs.cameras[view.name].publish(published)
            # One cloud wants one unit; in the rig's frame also poses that are known, not guessed.
            known = view.pose.source in (*GIVEN, "matches") or (not in_rig and view.pose.source != "none")
            if published.in_unit and known:
                fusible.append(view)
        self._outputs.publish_transforms(views)
        stamp_ns = estimate.views[0].stamp_ns
        if estimate.odometry is not None:
            mark = "" if estimate.odometry.metric else parameters.relative_suffix
            child = parameters.rig_frame if sources[0].view.mount is not None else sources[0].frame_id
            self._outputs.publish_odometry(estimate.odometry, mark, child, stamp_ns)
        if fusible and self._outputs.fused_is_due(stamp_ns):
            self._publish_fused(work, fusible, metric, stamp_ns)

    def _publish_fused(self, work: Work, views: list[ViewEstimate], metric: bool, stamp_ns: int) -> None:
        in_rig, world = bool(work.world), work.world or work.sources[0].frame_id
        mark = "" if metric else self._parameters.relative_suffix
        if in_rig and not metric and len(views) > 1:
            # Poses in metres and depth without a unit do not make one cloud.
            text = "the fused cloud is withheld: depth is relative, the cameras' poses are metric"
            self._health.report("", "fused", text, WARN)
            return
        to_frame: Matrix | None = np.eye(4)
        frame = world
        if in_rig and self._parameters.fused_frame != world:
            frame = self._parameters.fused_frame
            to_frame = work.to_fused
            if to_frame is None:
                to_frame = lookup_or_report(self._transforms, self._health, frame, world, stamp_ns)
        elif not in_rig:
            rig = self._parameters.rig_frame
            text = f"the fused cloud is in {world + mark}: no camera has a transform to {rig}"
            self._health.report("", "fused", text, WARN)
        if to_frame is not None:
            poses = [to_frame @ view.pose.T_world_camera for view in views]
            self._outputs.publish_fused(views, poses, frame + mark, stamp_ns)
