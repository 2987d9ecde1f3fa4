# SPDX-License-Identifier: Apache-2.0
"""From network units to metres: which source is asked, how often, and what happens when it has no answer."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.preprocess import Prepared
from da3_ros.estimation.scale.rig import MatchConfig, SparseDepth, triangulate_rig
from da3_ros.estimation.views import ScaleEstimate, View
from da3_ros.geometry.alignment import Alignment, AlignmentError, align_scale_shift

SOURCES = ("auto", "rig", "given", "none")
FITS = ("auto", "scale", "scale_shift")
SHIFT_GAIN = 0.6
"""A shift is fitted in ``auto`` where it brings the median residual below this share of that without one."""


@dataclass(frozen=True)
class ScaleConfig:
    """How depth gets its unit. Raises ValueError for a value outside its range."""

    source: str = "auto"
    """``rig``: known poses between cameras; ``given``: `value` metres a unit; ``none``: relative depth;
    ``auto``: rig where two or more views have poses, else none."""
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

    def __call__(self, views: tuple[View, ...], prepared: Prepared, depth: NDArray[np.float32]) -> ScaleEstimate:
        """Scale of the network's depth (S, H, W) of `views`."""
        c = self.config
        if c.source == "none":
            return ScaleEstimate("none", message="scale.source is none: depth is relative")
        if c.source == "given":
            return ScaleEstimate("given", c.value, metric=True)
        known = [i for i, v in enumerate(views) if v.pose is not None and v.camera is not None]
        if len(known) < 2:
            return ScaleEstimate(
                "none",
                message=f"{len(known)} of {len(views)} views have a calibrated camera and a known pose, two are "
                "needed: publish CameraInfo and the rig's transforms, or set scale.source: given",
            )
        now = views[0].stamp_ns
        age = abs(now - self._last_ns) * 1e-9
        if self._last is not None and c.period > 0 and age < c.period:
            return self._last
        estimate = self._from_rig(views, known, prepared, depth)
        if estimate.metric:
            self._last, self._last_ns = estimate, now
        elif self._last is not None and age <= c.hold:
            last = self._last
            return ScaleEstimate(
                last.source,
                last.value,
                last.shift,
                last.residual,
                0,
                True,
                f"held for {age:.1f} s: {estimate.message}",
            )
        return estimate

    def _from_rig(self, views, known: list[int], prepared: Prepared, depth: NDArray[np.float32]) -> ScaleEstimate:
        images = [prepared.rectified[i] for i in known]
        cameras = [views[i].camera for i in known]
        sparse = triangulate_rig(images, cameras, [views[i].pose for i in known], self.config.matching)
        relative, metric = [], []
        for i, points in zip(known, sparse):
            relative.append(sample_depth(depth[i], prepared.windows[i], views[i].image.shape[:2], points))
            metric.append(points.depth)
        metric_all = np.concatenate(metric)
        if len(metric_all) < self.config.min_matches:
            return ScaleEstimate(
                "none",
                message=f"{len(metric_all)} points could be triangulated between the cameras, "
                f"{self.config.min_matches} are needed: more overlap, texture or light",
            )
        try:
            fit = fit_depth(np.concatenate(relative), metric_all, self.config.fit)
        except AlignmentError as error:
            return ScaleEstimate("none", message=str(error))
        return ScaleEstimate("rig", fit.scale, fit.shift, fit.residual, int(fit.inliers.sum()), True)


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
