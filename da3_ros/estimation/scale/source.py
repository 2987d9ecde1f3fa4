# SPDX-License-Identifier: Apache-2.0
"""From network units to metres: which source is asked, how often, and what happens when it has no answer."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.preprocess import Prepared
from da3_ros.estimation.scale.distances import scale_from_distances
from da3_ros.estimation.scale.rig import MatchConfig, SparseDepth, triangulate_rig
from da3_ros.estimation.views import ScaleEstimate, View
from da3_ros.geometry.alignment import Alignment, AlignmentError, align_scale_shift

SOURCES = ("auto", "rig", "metric_model", "given", "none")
FITS = ("auto", "scale", "scale_shift")
NOT_METRIC = (
    "scale.source is metric_model, but this depth is not in metres: take a metric model, and publish the CameraInfo of "
    "every camera (it needs their focal lengths)"
)
OWN_METRES = ScaleEstimate("metric_model", metric=True)
SHIFT_GAIN = 0.6
"""A shift is fitted in ``auto`` where it brings the median residual below this share of that without one."""


@dataclass(frozen=True)
class ScaleConfig:
    """How depth gets its unit. Raises ValueError for a value outside its range."""

    source: str = "auto"
    """``rig``: known poses between cameras; ``metric_model``: the network's own metres; ``given``: `value` metres a
    unit; ``none``: relative depth; ``auto``: rig where two or more views have poses, else the network's own metres
    where it predicts them, else none."""
    value: float = 1.0
    """Metres in one unit of the network, for ``given``."""
    period: float = 0.0
    """Seconds between two estimates; 0 estimates on every set."""
    hold: float = 2.0
    """Seconds for which the last scale is kept when a set has too few matches."""
    min_matches: int = 20
    """Fewer triangulated points than this give no scale."""
    fit: str = "auto"
    """``scale``, ``scale_shift``, or ``auto``: with a shift only where the matches clearly ask for one. A needless
    shift spoils depth that lies outside the range of the matches."""
    matching: MatchConfig = field(default_factory=MatchConfig)

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ValueError(f"scale source {self.source!r} is unknown; allowed: {', '.join(SOURCES)}")
        if self.fit not in FITS:
            raise ValueError(f"scale fit {self.fit!r} is unknown; allowed: {', '.join(FITS)}")
        if not self.value > 0:
            raise ValueError(f"scale value must be positive, got {self.value}")
        if self.period < 0 or self.hold < 0:
            raise ValueError(f"scale period and hold must not be negative, got {self.period} and {self.hold}")
        if self.min_matches < 8:
            raise ValueError(f"scale min_matches must be at least 8, got {self.min_matches}")


class ScaleSource:
    """Gives each set its scale; remembers the last one. Time is that of the images."""

    def __init__(self, config: ScaleConfig) -> None:
        self.config = config
        self._last: ScaleEstimate | None = None
        self._last_ns = 0

    def reset(self) -> None:
        """Forget the last scale, for example after a jump in time."""
        self._last = None

    def memory(self) -> tuple[ScaleEstimate | None, int]:
        """The last scale and its time (ns), for `recall`."""
        return self._last, self._last_ns

    def recall(self, memory: tuple[ScaleEstimate | None, int]) -> None:
        """Go on where `memory` was asked for."""
        self._last, self._last_ns = memory

    def measure(self, views: tuple[View, ...], prepared: Prepared) -> list[SparseDepth] | None:
        """Sparse metric depth of every view, or None where no estimate is due.

        This needs nothing of the network and may run beside it, in another thread.
        """
        known = _known(views)
        if self.config.source not in ("auto", "rig") or len(known) < 2 or self._is_fresh(views[0].stamp_ns):
            return None
        images = [prepared.rectified[i] for i in known]
        cameras = [camera for i in known if (camera := views[i].camera) is not None]
        poses = [pose for i in known if (pose := views[i].pose) is not None]
        found = dict(zip(known, triangulate_rig(images, cameras, poses, self.config.matching), strict=True))
        return [found.get(i, SparseDepth.empty()) for i in range(len(views))]

    def __call__(
        self,
        views: tuple[View, ...],
        prepared: Prepared,
        depth: NDArray[np.float32],
        sparse: list[SparseDepth] | None,
        in_metres: bool = False,
        poses: NDArray[np.float64] | None = None,
    ) -> ScaleEstimate:
        """Scale of the network's depth (S, H, W) of `views`; sparse: what `measure` returned for them; in_metres:
        whether this depth claims to be metric already; poses: T_world_camera (S, 4, 4) of the network, where its
        distances can be trusted.
        """
        if sparse is None:
            return self._without_matches(views, in_metres)
        now = views[0].stamp_ns
        estimate = self._from_rig(views, prepared, depth, sparse)
        age = abs(now - self._last_ns) * 1e-9
        if estimate.metric:
            self._last, self._last_ns = estimate, now
            return estimate
        if self._last is not None and age <= self.config.hold:
            message = f"held for {age:.1f} s: {estimate.message}"
            return dataclasses.replace(self._last, inliers=0, message=message)
        if in_metres and self.config.source == "auto":
            return dataclasses.replace(OWN_METRES, message=f"the network's own metres are used: {estimate.message}")
        if poses is not None:
            found = scale_from_distances(poses, [view.pose for view in views], self.config.matching.min_baseline)
            message = f"{found.message}; {estimate.message}"
            return dataclasses.replace(found if found.metric else estimate, message=message)
        return estimate

    def _without_matches(self, views: tuple[View, ...], in_metres: bool) -> ScaleEstimate:
        """Scale from what is known beforehand, or the last one while it is fresh."""
        source = self.config.source
        if source == "given":
            return ScaleEstimate("given", self.config.value, metric=True)
        if in_metres and source in ("auto", "metric_model") and not self._is_fresh(views[0].stamp_ns):
            return OWN_METRES
        if self._last is not None and self._is_fresh(views[0].stamp_ns):
            return self._last
        message = {"none": "scale.source is none: depth is relative", "metric_model": NOT_METRIC}.get(
            source,
            f"{len(_known(views))} of {len(views)} views have a calibrated camera and a known pose, two are needed: "
            "publish CameraInfo and the rig's transforms, or set scale.source: given",
        )
        return ScaleEstimate("none", message=message)

    def _is_fresh(self, now_ns: int) -> bool:
        return self._last is not None and abs(now_ns - self._last_ns) * 1e-9 < self.config.period

    def _from_rig(
        self, views: tuple[View, ...], prepared: Prepared, depth: NDArray[np.float32], sparse: list[SparseDepth]
    ) -> ScaleEstimate:
        relative = [
            sample_depth(depth[i], prepared.windows[i], view.image.shape[:2], points)
            for i, (view, points) in enumerate(zip(views, sparse, strict=True))
        ]
        metric = np.concatenate([points.depth for points in sparse])
        if len(metric) < self.config.min_matches:
            return ScaleEstimate(
                "none",
                message=f"{len(metric)} points could be triangulated between the cameras, "
                f"{self.config.min_matches} are needed: more overlap, texture or light",
            )
        try:
            fit = fit_depth(np.concatenate(relative), metric, self.config.fit)
        except AlignmentError as error:
            return ScaleEstimate("none", message=str(error))
        return ScaleEstimate("rig", fit.scale, fit.shift, fit.residual, int(fit.inliers.sum()), True)


def _known(views: tuple[View, ...]) -> list[int]:
    """Indices of the views whose camera and pose are known."""
    return [i for i, view in enumerate(views) if view.pose is not None and view.camera is not None]


def fit_depth(relative: NDArray[np.float64], metric: NDArray[np.float64], fit: str) -> Alignment:
    """Alignment of relative depth (N,) to metric depth (N,) under the rule `fit` (see `ScaleConfig.fit`).

    Raises AlignmentError where the samples do not determine one.
    """
    if fit == "scale_shift":
        return align_scale_shift(relative, metric)
    plain = align_scale_shift(relative, metric, fit_shift=False)
    if fit == "scale":
        return plain
    try:
        shifted = align_scale_shift(relative, metric)
    except AlignmentError:
        return plain

    def residual(a: Alignment) -> float:
        return float(np.median(np.abs(a.scale * relative + a.shift - metric) / metric))

    return shifted if residual(shifted) < SHIFT_GAIN * residual(plain) else plain


def sample_depth(
    depth: NDArray[np.float32], window: tuple[int, int], size: tuple[int, int], points: SparseDepth
) -> NDArray[np.float64]:
    """Depth (N,) of the map (H, W) at pixels of the view's own image of size (h, w), nearest neighbour."""
    h, w = window
    u = np.clip(np.rint((points.pixels[:, 0] + 0.5) * w / size[1] - 0.5).astype(int), 0, w - 1)
    v = np.clip(np.rint((points.pixels[:, 1] + 0.5) * h / size[0] - 0.5).astype(int), 0, h - 1)
    return depth[v, u].astype(np.float64)
