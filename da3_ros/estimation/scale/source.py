# SPDX-License-Identifier: Apache-2.0
"""From network units to metres: which source is asked, how often, and what happens when it has no answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.preprocess import Prepared
from da3_ros.estimation.scale.config import ScaleConfig
from da3_ros.estimation.scale.distances import scale_from_distances
from da3_ros.estimation.scale.filter import ScaleFilter
from da3_ros.estimation.scale.fit import contradiction, fit_samples
from da3_ros.estimation.scale.ground import scale_from_ground
from da3_ros.estimation.scale.reference import project_reference
from da3_ros.estimation.scale.rig import SparseDepth, triangulate_rig
from da3_ros.estimation.views import ScaleEstimate, View
from da3_ros.geometry.points import unproject_depth

NOT_METRIC = (
    "scale.source is metric_model, but this depth is not in metres: take a metric model, and publish the CameraInfo of "
    "every camera (it needs their focal lengths)"
)
ALL_SKY = "the network tells no metres: these images show too little besides sky"
MEASURED = ("reference", "rig", "odometry")
"""Sources that measure metric depth of single points, in the order in which they are trusted."""
_GROUND_STEP = 4  # pixels of the depth map between the points in which the ground is sought

Samples = dict[str, list[SparseDepth]]
"""What was measured, by source: samples of every view."""


class ScaleSource:
    """Gives each set its scale; remembers the last ones. Time is that of the images."""

    def __init__(self, config: ScaleConfig, *, affine: bool = False) -> None:
        """affine: whether the network's depth is defined up to scale and shift, rather than up to scale."""
        self.config, self._affine = config, affine
        self._filters = {told: ScaleFilter(config) for told in (True, False)}
        """By whether the network tells metres. Sets of which it does, and sets of which it does not for want of a focal
        length, have depth in different units: what is known of the one says nothing about the other.
        """
        self._told = False

    @property
    def _filter(self) -> ScaleFilter:
        """That of the last set."""
        return self._filters[self._told]

    def reset(self) -> None:
        """Forget the last scale, for example after a jump in time."""
        for each in self._filters.values():
            each.reset()

    def memory(self) -> Any:
        """What the filters remember, for `recall`."""
        return self._told, {told: each.memory() for told, each in self._filters.items()}

    def recall(self, memory: Any) -> None:
        """Go on where `memory` was asked for."""
        self._told, memories = memory
        for told, each in memories.items():
            self._filters[told].recall(each)

    def measure(self, views: tuple[View, ...], prepared: Prepared) -> Samples:
        """Samples of metric depth, from the first source that has any; empty where no estimate is due.

        This needs nothing of the network and may run beside it, in another thread.
        """
        if self._is_fresh(views[0].stamp_ns):
            return {}
        found: Samples = {}
        for source in MEASURED:
            if self.config.source not in ("auto", source):
                continue
            samples = _MEASURES[source](self.config, views, prepared)
            if samples is not None:
                found[source] = samples
                if sum(len(points.depth) for points in samples) >= self.config.min_matches:
                    break
        return found

    def __call__(
        self,
        views: tuple[View, ...],
        prepared: Prepared,
        depth: NDArray[np.float32],
        samples: Samples,
        metres: float | None = None,
        poses: NDArray[np.float64] | None = None,
    ) -> ScaleEstimate:
        """Scale of the network's depth (S, H, W) of `views`; samples: what `measure` returned for them; metres:
        in one unit of this depth by the network itself, None where it does not claim to know and 0 where the images do
        not tell; poses: T_world_camera (S, 4, 4) of the network, where its distances can be trusted.
        """
        source, now = self.config.source, views[0].stamp_ns
        if source == "none":
            return ScaleEstimate("none", message="scale.source is none: depth is relative")
        if source == "given":
            return ScaleEstimate("given", self.config.value, metric=True)
        self._told = metres is not None
        last = self._filter.last
        if last is not None and self._is_fresh(now):
            return last
        reasons = []
        for name, sparse in samples.items():
            least = self.config.min_matches
            fit = fit_samples(name, views, prepared, depth, sparse, self.config.fit, least, affine=self._affine)
            if fit.metric:
                return self._filter.accept(fit, now)
            reasons.append(fit.message)
        # A sensor that is late for a set, or sees nothing in it, says nothing against what it said before.
        if held := self._filter.held(now, "; ".join(reasons), MEASURED):
            return held
        if contradiction(samples.get("rig", []), self.config.min_matches):
            poses = None  # the distances of transforms that the images refute are no measure either
        found = self._without_samples(views, prepared, depth, reasons, metres, poses)
        return found if found.metric else self._filter.held(now, found.message) or found

    def _without_samples(
        self,
        views: tuple[View, ...],
        prepared: Prepared,
        depth: NDArray[np.float32],
        reasons: list[str],
        metres: float | None,
        poses: NDArray[np.float64] | None,
    ) -> ScaleEstimate:
        """Scale from what stands behind the measured sources; reasons: why these had no answer."""
        source, now = self.config.source, views[0].stamp_ns
        if metres is not None and source in ("auto", "metric_model"):
            if metres > 0:
                told = f"the network's own metres are used: {'; '.join(reasons)}" if reasons else ""
                return self._filter.serve(ScaleEstimate("metric_model", metres, metric=True, message=told), now)
            reasons = [*reasons, ALL_SKY]
        if source == "metric_model":
            return ScaleEstimate("none", message=NOT_METRIC if metres is None else ALL_SKY)
        if poses is not None and source in ("auto", "rig"):
            known: list[NDArray[np.floating] | None] = [
                view.pose if view.pose_source == "calibrated" else None for view in views
            ]
            found = scale_from_distances(poses, known, self.config.matching.min_baseline)
            message = "; ".join([found.message, *reasons])
            if found.metric:
                return self._filter.serve(dataclasses.replace(found, message=message), now)
        if self.config.camera_height and source in ("auto", "camera_height"):
            ground = self._from_ground(views, prepared, depth)
            if ground.metric:
                return self._filter.accept(ground, now)
            reasons = [*reasons, ground.message]
        return ScaleEstimate("none", message="; ".join(reasons) or _nothing_to_go_on(source, views))

    def _from_ground(self, views: tuple[View, ...], prepared: Prepared, depth: NDArray[np.float32]) -> ScaleEstimate:
        """The ground under the views of this moment, where their cameras are known."""
        chosen = [i for i, view in enumerate(views) if prepared.cameras[i] is not None and view.body == views[0].body]
        points, up, height = [], [], []
        for i in chosen:
            camera, (h, w) = prepared.cameras[i], prepared.windows[i]
            assert camera is not None
            cloud = unproject_depth(depth[i, :h, :w].astype(np.float64), camera.K)
            points.append(cloud[::_GROUND_STEP, ::_GROUND_STEP].reshape(-1, 3))
            pose, first = views[i].pose, views[0].pose
            # Without a pose the camera is taken to look level: y points down.
            up.append(np.array([0.0, -1.0, 0.0]) if pose is None else pose[2, :3])
            above = pose[2, 3] - first[2, 3] if pose is not None and first is not None else 0.0
            height.append(self.config.camera_height + above)
        return scale_from_ground(points, up, height)

    def _is_fresh(self, now_ns: int) -> bool:
        return self._filter.age_s(now_ns) < self.config.period


def _nothing_to_go_on(source: str, views: tuple[View, ...]) -> str:
    if source == "reference":
        return "no points of a reference for any calibrated camera: publish scale/points or scale/depth and its TF"
    if source == "odometry":
        return "no two frames with known motion between them: set odometry_frame and sync.window"
    known = sum(view.camera is not None and view.pose is not None for view in views)
    return (
        f"{known} of {len(views)} views have a calibrated camera and a known pose, two are needed: publish CameraInfo "
        "and the rig's transforms, or set scale.source: given"
    )


def _reference(config: ScaleConfig, views: tuple[View, ...], prepared: Prepared) -> list[SparseDepth] | None:
    del config, prepared
    if not any(view.measured is not None and view.camera is not None for view in views):
        return None
    return [
        SparseDepth.empty()
        if view.measured is None or view.camera is None
        else project_reference(view.measured, view.camera)
        for view in views
    ]


def _rig(config: ScaleConfig, views: tuple[View, ...], prepared: Prepared) -> list[SparseDepth] | None:
    return _triangulate(config, views, prepared, lambda a, b: a.body == b.body)


def _odometry(config: ScaleConfig, views: tuple[View, ...], prepared: Prepared) -> list[SparseDepth] | None:
    matching = dataclasses.replace(config.matching, epipolar_px=config.matching.moving_epipolar_px)
    moving = dataclasses.replace(config, matching=matching)
    return _triangulate(moving, views, prepared, lambda a, b: a.body != b.body)


def _triangulate(
    config: ScaleConfig, views: tuple[View, ...], prepared: Prepared, fit: Callable[[View, View], bool]
) -> list[SparseDepth] | None:
    """Triangulated points of the views whose poses are known in metres, between the pairs that `fit`."""
    # Poses that this very estimator found would only confirm the scale that they came from.
    known = [
        i
        for i, view in enumerate(views)
        if view.pose is not None and view.camera is not None and view.pose_source != "estimated"
    ]
    pairs = [(m, n) for m in range(len(known)) for n in range(m) if fit(views[known[m]], views[known[n]])]
    if not pairs:
        return None
    images = [prepared.rectified[i] for i in known]
    cameras = [camera for i in known if (camera := views[i].camera) is not None]
    poses = [pose for i in known if (pose := views[i].pose) is not None]
    found = dict(zip(known, triangulate_rig(images, cameras, poses, config.matching, pairs), strict=True))
    return [found.get(i, SparseDepth.empty()) for i in range(len(views))]


_MEASURES = {"reference": _reference, "rig": _rig, "odometry": _odometry}
