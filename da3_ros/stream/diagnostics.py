# SPDX-License-Identifier: Apache-2.0
"""The node's health: what went wrong and where, how fast it is, where its scale comes from. Free of ROS but
for words.

Anything that anybody must know becomes an `Issue` with a camera (or none), a kind and a text that names
topic, value and remedy; it stays in the diagnostics for a while after it happened last.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from da3_ros.estimation import Estimate, OdometryEstimate, RigDeviation, ScaleEstimate
from da3_ros.messages import MessageTypes
from da3_ros.stream.refinements import as_numbers, in_words
from da3_ros.sync import CameraCounts

OK, WARN, ERROR = 0, 1, 2
STAGES = ("decode", "preprocess", "engine", "scale", "poses", "refinement", "post", "publish", "total")
_RATE_WINDOW_S = 5.0
_LOG_EVERY_S = 10.0


@dataclass
class Issue:
    """Something wrong, for the reader of the diagnostics."""

    level: int
    text: str
    seen: float  # monotonic seconds
    count: int = 1
    keep_s: float = 0.0
    """At least, if that is longer than all are kept."""


@dataclass
class Status:
    """One entry of /diagnostics."""

    name: str
    level: int
    message: str
    values: dict[str, str] = field(default_factory=dict)


class Health:
    """Collects from every thread; `statuses` says it all."""

    def __init__(
        self,
        cameras: Iterable[str],
        log: Callable[[int, str], None],
        *,
        keep_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """log: called with (level, text), at most every ten seconds for the same issue, whether or not it was over in
        between. keep_s: for how long an issue is said after it was seen last; may be set at any time.
        """
        self._cameras = tuple(cameras)
        self._log, self.keep_s, self._clock = log, keep_s, clock
        self._lock = threading.Lock()
        self._issues: dict[tuple[str, str], Issue] = {}
        self._logged: dict[tuple[str, str], float] = {}
        self._last_error: dict[str, str] = {}
        self._arrivals: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=1000))
        self._sets: deque[float] = deque(maxlen=1000)
        self._skew_ns: dict[str, deque[int]] = defaultdict(lambda: deque(maxlen=100))
        self._stages: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=500))
        self._scale: ScaleEstimate | None = None
        self._odometry: OdometryEstimate | None = None
        self._rig: tuple[RigDeviation, ...] = ()
        self._poses: dict[str, str] = {}
        self._refinement: dict[str, dict[str, Any]] = {}
        self._refinement_ms = 0.0
        self.engine: dict[str, str] = {}

    def report(self, camera: str, kind: str, text: str, level: int = ERROR, *, keep_s: float = 0.0) -> None:
        """Something is wrong with `camera` ("" for the node), or at level OK worth knowing, which is logged once.

        kind: tells issues of one camera apart. keep_s: for how long it is said at least, where it is looked at seldom.
        """
        now, key = self._clock(), (camera, kind)
        with self._lock:
            issue = self._issues.get(key)
            if issue is None:
                issue = self._issues[key] = Issue(level, text, now, 0)
            issue.level, issue.text, issue.seen, issue.keep_s = level, text, now, keep_s
            issue.count += 1
            if level == ERROR:
                self._last_error[camera] = text
            every = _LOG_EVERY_S if level != OK else float("inf")
            must_log = key not in self._logged or now - self._logged[key] >= every
            if must_log:
                self._logged[key] = now
        if must_log:
            self._log(level, f"{camera}: {text}" if camera else text)

    def resolve(self, camera: str, kind: str) -> None:
        """The issue is over: say so no longer."""
        with self._lock:
            self._issues.pop((camera, kind), None)

    def issues(self) -> dict[tuple[str, str], Issue]:
        """Everything that was reported and not resolved, by camera and kind."""
        with self._lock:
            return dict(self._issues)

    def frame_arrived(self, camera: str) -> None:
        with self._lock:
            self._arrivals[camera].append(self._clock())

    def silence(self, camera: str) -> float | None:
        """Seconds since the camera's last frame; None before the first one."""
        with self._lock:
            arrivals = self._arrivals[camera]
            return self._clock() - arrivals[-1] if arrivals else None

    def set_done(
        self, offsets_ns: Mapping[str, int], stages: Mapping[str, float], estimate: Estimate, count: int
    ) -> None:
        """A set was published.

        offsets_ns: each camera's stamp after the trigger's. stages: milliseconds; `total` goes from the first
        stamp to the last publish. count: of the first views of the estimate that are of this moment: fewer than frames
        came where one could not be used.
        """
        with self._lock:
            self._sets.append(self._clock())
            for camera, offset in offsets_ns.items():
                self._skew_ns[camera].append(abs(offset))
            self._scale, self._odometry = estimate.scale, estimate.odometry
            views = estimate.views[:count]
            self._poses = {view.name: view.pose.source for view in views}
            self._refinement = {view.name: as_numbers(view.refinement) for view in views if view.refinement is not None}
            self._refinement_ms = stages.get("refinement", 0.0)
            self._rig = estimate.rig if estimate.rig is not None else self._rig
            for name, value in stages.items():
                self._stages[name].append(value)
            if not self._refinement:  # switched off, or nothing to refine: its times are of another time
                self._stages["refinement"].clear()

    def statuses(self, counts: Mapping[str, CameraCounts], note: str = "") -> list[Status]:
        """Everything of this moment. note: why there is no output at present, if the node knows."""
        now = self._clock()
        with self._lock:
            for key, issue in list(self._issues.items()):
                if now - issue.seen > max(issue.keep_s, self.keep_s):
                    del self._issues[key]
            node = [issue for (camera, _), issue in self._issues.items() if not camera]
            statuses = [self._overall(node, now, note)]
            statuses += [self._camera(camera, counts.get(camera), now) for camera in self._cameras]
            statuses += [self._scale_status(), self._pose_status(), self._refinement_status(), self._timing_status()]
        return statuses

    def _overall(self, issues: list[Issue], now: float, note: str) -> Status:
        values = {"sets_per_second": f"{_rate(self._sets, now):.2f}", **self.engine}
        level, message = _worst(issues, note or "running")
        return Status("pipeline", level, message, values)

    def _camera(self, camera: str, counts: CameraCounts | None, now: float) -> Status:
        issues = [issue for (name, _), issue in self._issues.items() if name == camera]
        level, message = _worst(issues, "receiving" if self._arrivals[camera] else "no image yet")
        counts = counts or CameraCounts()
        values = {
            "rate_hz": f"{_rate(self._arrivals[camera], now):.2f}",
            "received": str(counts.received),
            "used": str(counts.used),
            "dropped": str(sum(counts.dropped.values())),
            "waiting": str(counts.waiting),
        }
        values.update({f"dropped_{cause}": str(number) for cause, number in sorted(counts.dropped.items())})
        if self._arrivals[camera]:
            values["seconds_since_last"] = f"{now - self._arrivals[camera][-1]:.2f}"
        if self._skew_ns[camera]:
            values["skew_ms_p95"] = f"{np.percentile(self._skew_ns[camera], 95) / 1e6:.2f}"
        if camera in self._last_error:
            values["last_error"] = self._last_error[camera]
        return Status(camera, level, message, values)

    def _scale_status(self) -> Status:
        scale = self._scale
        if scale is None:
            return Status("scale", OK, "no set yet")
        values = {
            "source": scale.source,
            "metres_per_unit": f"{scale.value:.6g}",
            "shift_m": f"{scale.shift:.6g}",
            "residual": f"{scale.residual:.4f}",
            "inliers": str(scale.inliers),
            "metric": str(scale.metric).lower(),
        }
        if not scale.metric:
            return Status("scale", WARN, f"depth is relative: {scale.message}", values)
        level = WARN if scale.message else OK
        return Status("scale", level, scale.message or f"metric, from {scale.source}", values)

    def _pose_status(self) -> Status:
        values = {f"{camera}_source": source for camera, source in self._poses.items()}
        for pair in self._rig:
            name = "_".join(pair.cameras)
            values[f"{name}_off_deg"] = f"{pair.angle_deg:.2f}"
            values[f"{name}_off_m"] = f"{pair.distance_m:.4f}"
        if self._odometry is not None:
            sigma = float(np.sqrt(np.trace(self._odometry.covariance[:3, :3])))
            values["odometry_matches"], values["odometry_std_m"] = str(self._odometry.inliers), f"{sigma:.3f}"
        text = "no set yet" if not self._poses else "sources: " + ", ".join(sorted(set(self._poses.values())))
        return Status("poses", OK, text, values)

    def _refinement_status(self) -> Status:
        if self._scale is None:
            return Status("refinement", OK, "no set yet")
        text, values = in_words(self._refinement, metric=self._scale.metric, milliseconds=self._refinement_ms)
        return Status("refinement", OK, text, values)

    def _timing_status(self) -> Status:
        values = {}
        for stage in STAGES:
            if self._stages[stage]:
                for rank, value in zip((50, 95, 99), np.percentile(self._stages[stage], (50, 95, 99)), strict=True):
                    values[f"{stage}_ms_p{rank}"] = f"{value:.1f}"
        text = f"stamp to publish {values['total_ms_p50']} ms" if "total_ms_p50" in values else "no set yet"
        return Status("timing", OK, text, values)


def _worst(issues: list[Issue], otherwise: str) -> tuple[int, str]:
    if not issues:
        return OK, otherwise
    # The worst first, and then the newest.
    issues = sorted(issues, key=lambda issue: (-issue.level, -issue.seen))
    texts = [issue.text + (f" ({issue.count} times)" if issue.count > 1 else "") for issue in issues]
    return issues[0].level, " | ".join(texts)


def _rate(times: Iterable[float], now: float) -> float:
    """Events a second of the last five seconds; falls from the moment that they stop."""
    recent = [t for t in times if now - t <= _RATE_WINDOW_S]
    if len(recent) < 2:
        return len(recent) / _RATE_WINDOW_S
    mean_gap = (recent[-1] - recent[0]) / (len(recent) - 1)
    # One gap after the last event is its own; silence beyond that counts.
    silence = max(now - recent[-1] - mean_gap, 0.0)
    return (len(recent) - 1) / max(recent[-1] - recent[0] + silence, 1e-6)


def encode_diagnostics(types: MessageTypes, statuses: Iterable[Status], node_name: str, stamp_ns: int) -> Any:
    """DiagnosticArray; names read `<node>: <part>`, as diagnostic_updater's do."""
    kind, pair = types["diagnostic_msgs/msg/DiagnosticStatus"], types["diagnostic_msgs/msg/KeyValue"]
    levels = {OK: kind.OK, WARN: kind.WARN, ERROR: kind.ERROR}
    return types["diagnostic_msgs/msg/DiagnosticArray"](
        header=types.header(stamp_ns, ""),
        status=[
            kind(
                level=levels[status.level],
                name=f"{node_name}: {status.name}",
                message=status.message,
                hardware_id="da3",
                values=[pair(key=key, value=value) for key, value in status.values.items()],
            )
            for status in statuses
        ],
    )
