# SPDX-License-Identifier: Apache-2.0
"""Depth of a view set, refined: evidence is gathered, fused and checked. Depends on no other set."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.refinement.check import LEAST, ORDER, Verdict, held_back, judge, same_order
from da3_ros.estimation.refinement.config import RefinementConfig
from da3_ros.estimation.refinement.evidence import Evidence
from da3_ros.estimation.refinement.frame import Frame, Map
from da3_ros.estimation.refinement.fusion import Fused, fuse, spacing
from da3_ros.estimation.refinement.measured import evidence_of_corners, evidence_of_points
from da3_ros.estimation.refinement.pairs import Posed
from da3_ros.estimation.refinement.shared import shared_error
from da3_ros.estimation.refinement.side_by_side import side_by_side
from da3_ros.estimation.refinement.sweeper import Sweeper, on_the_cpu
from da3_ros.estimation.refinement.uncertainty import NETWORK, OWN, deviation, distances, grown
from da3_ros.estimation.refinement.views import evidence_of_views
from da3_ros.estimation.scale.rig import SparseDepth
from da3_ros.estimation.views import ViewRefinement
from da3_ros.geometry.cameras import CameraModel

DENSE = 0.02
"""Share of a view's pixels with evidence from which on corners add nothing."""
SPARSE_ACCURACY, DENSE_ACCURACY = 0.002, 0.007
"""Of the solver: between far points much lies that no weight holds."""
AGREES = 12.0
"""Pixels from trusted evidence within which confidence rises, up to twice what it was."""


@dataclass(frozen=True)
class Subject:
    """A view whose depth is to be refined."""

    depth: NDArray[np.float32]
    """(h, w), metres, positive."""
    confidence: NDArray[np.float32]
    """(h, w), the network's."""
    image: NDArray[np.uint8]
    """(h, w, 3) RGB, the same pixels."""
    large: NDArray[np.uint8]
    """(H, W, 3) RGB at its own size, without distortion."""
    camera: CameraModel | None
    """Of the depth map; None: not known."""
    pose: NDArray[np.float64] | None
    """T_world_camera (4, 4), in the unit of depth; None: not known."""
    sigma: tuple[float, float] = (0.0, 0.0)
    """Standard deviation of the pose: radians, and its unit."""
    body: int = 0
    """Views of one body were taken together."""
    measured: tuple[NDArray[np.float32], CameraModel] | None = None
    """Points (N, 3) of another sensor in the view's optical frame, and the camera of its image at its own size."""
    matches: SparseDepth | None = None
    """Triangulated corners."""
    wanted: bool = True
    """False: the view only bears witness for others."""


@dataclass(frozen=True)
class Refined:
    """A view's depth after the refinement."""

    depth: NDArray[np.float32]
    """(h, w), in the unit that it came in."""
    confidence: NDArray[np.float32]
    """(h, w), at least what it was."""
    stddev: NDArray[np.float32]
    """(h, w), standard deviation of depth, in its unit."""
    report: ViewRefinement


def load_solvers() -> None:
    """Load what the refinement is solved with: it takes longer than many a set, and should not hold up the first."""
    for name in ("scipy.sparse.linalg", "scipy.spatial"):
        importlib.import_module(name)


def refine(
    subjects: Sequence[Subject],
    config: RefinementConfig,
    network: float = NETWORK,
    sweeper: Sweeper = on_the_cpu,
) -> list[Refined | None]:
    """Refine the views of a set; None for those that are not wanted.

    network: standard deviation of log depth of what the network says alone. sweeper: who sweeps.
    """
    logs = [_logarithm(subject.depth) for subject in subjects]
    greys = [cv2.cvtColor(subject.image, cv2.COLOR_RGB2GRAY).astype(np.float32) for subject in subjects]
    evidence, hints, messages = _gather(subjects, logs, greys, config, sweeper)

    def one(i: int) -> Refined | None:
        if not subjects[i].wanted:
            return None
        of_view = subjects[i], logs[i], greys[i]
        found = _one(*of_view, evidence[i], hints[i], messages[i], config, network)
        measured = evidence[i].is_of("measured")
        if found.report.applied or not measured.any() or measured.all():
            return found
        # What a sensor measured does not lean on the poses that views are compared at.
        alone = _one(*of_view, evidence[i].part(measured), Evidence.none(), messages[i], config, network)
        return alone if alone.report.applied else found

    return side_by_side(one, range(len(subjects)))


def _usable(depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.isfinite(depth) & (depth > 0)


def _logarithm(depth: NDArray[np.float32]) -> Map:
    """Of depth (h, w); where there is none (sky), that of the farthest."""
    usable = _usable(depth)
    farthest = float(depth[usable].max()) if usable.any() else 1.0
    return np.log(np.where(usable, depth, np.float32(farthest)))


def _gather(
    subjects: Sequence[Subject],
    logs: Sequence[Map],
    greys: Sequence[Map],
    config: RefinementConfig,
    sweeper: Sweeper,
) -> tuple[list[Evidence], list[Evidence], list[str]]:
    """Evidence of each view, hints, and what is wrong with its pose."""
    parts: list[list[Evidence]] = [[] for _ in subjects]
    hints = [Evidence.none() for _ in subjects]
    messages = [""] * len(subjects)
    if config.source in ("auto", "all", "measured"):
        for part, subject, log in zip(parts, subjects, logs, strict=True):
            if subject.measured is not None and subject.wanted:
                part.append(evidence_of_points(subject.measured[0], subject.measured[1], log))
    if config.source in ("auto", "all", "views"):
        posed = [_posed(*each) for each in zip(subjects, logs, greys, strict=True)]
        if sum(view is not None for view in posed) > 1:
            seen = evidence_of_views(posed, config, sweeper)
            hints = seen.hints
            messages = [seen.message if i in seen.wrong else "" for i in range(len(subjects))]
            for part, own in zip(parts, seen.evidence, strict=True):
                part.append(own)
    # Corners were triangulated at the same poses: where some are wrong, none is believed.
    if config.source in ("auto", "all") and not any(messages):
        for part, subject, log in zip(parts, subjects, logs, strict=True):
            told = sum(len(own) for own in part)
            if subject.matches is not None and (config.source == "all" or told < DENSE * log.size):
                part.append(evidence_of_corners(subject.matches, _size(subject.large), log))
    return [Evidence.joined(part) for part in parts], hints, messages


def _posed(subject: Subject, log_depth: Map, grey: Map) -> Posed | None:
    if subject.camera is None or subject.pose is None:
        return None
    large = cv2.cvtColor(subject.large, cv2.COLOR_RGB2GRAY)
    frame = Frame(grey, subject.camera, np.asarray(subject.pose, np.float64), log_depth)
    return Posed(frame, large, subject.sigma, subject.body, subject.wanted)


def _size(image: NDArray[np.uint8]) -> tuple[int, int]:
    return image.shape[1], image.shape[0]


def _one(
    subject: Subject,
    log_depth: Map,
    grey: Map,
    evidence: Evidence,
    hints: Evidence,
    message: str,
    config: RefinementConfig,
    network: float,
) -> Refined:
    # Where the network has no depth there is nothing to be compared, and nothing to be refined.
    evidence = evidence.part(_usable(subject.depth)[evidence.rows, evidence.columns])
    share = len(evidence) / log_depth.size
    shown = np.full(log_depth.shape, np.nan, np.float32)
    shown[evidence.rows, evidence.columns] = np.exp(evidence.log_depth)
    error = shared_error(log_depth, evidence)
    evidence, hints = evidence.less(error), hints.less(error)
    verdict = _verdict(log_depth, grey, evidence, config)
    why = verdict.message and (message or verdict.message)
    report = ViewRefinement(
        False, why, evidence.counts(), share, verdict.before, verdict.after, shown, subject.depth, bool(message)
    )
    if verdict.message:
        far = distances(log_depth.shape, Evidence.none(), np.zeros(0, np.float32))
        spread = deviation(log_depth, far, 0.0, 0.0, 0.0, network)
        return Refined(subject.depth, subject.confidence, subject.depth * spread, report)
    hints = hints.part(_usable(subject.depth)[hints.rows, hints.columns])
    accuracy = SPARSE_ACCURACY if _of_sensor(evidence) else DENSE_ACCURACY
    fused = fuse(log_depth, grey, evidence, hints, accuracy=accuracy)
    depth = np.where(_usable(subject.depth), np.exp(fused.log_depth), subject.depth)
    distance = distances(log_depth.shape, evidence, fused.trust)
    spread = _spread(fused, distance, evidence, verdict, network)
    raised = subject.confidence * (1 + np.exp(distance * np.float32(-1 / AGREES)))
    return Refined(depth, raised, depth * spread, replace(report, applied=True))


def _verdict(log_depth: Map, grey: Map, evidence: Evidence, config: RefinementConfig) -> Verdict:
    nan = float("nan")
    if len(evidence) < LEAST:
        return Verdict(f"{len(evidence)} pieces of evidence, {LEAST} are needed", nan, nan)
    order = same_order(log_depth, evidence)
    sensor = _of_sensor(evidence)
    if order < ORDER and not sensor:
        return judge(np.full(1, nan), np.full(1, nan), order, sensor=False)
    # At half the size, which is enough to tell.
    h, w = (-(-side // 2) for side in log_depth.shape)
    small, small_grey = (cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA) for image in (log_depth, grey))
    thin = evidence.thinned(2)
    before, after = [], []
    for held in held_back(evidence, config.held_back):
        if not held.any() or (~held).sum() < LEAST / 2:
            continue
        tried = fuse(small, small_grey, thin.part(~held), rounds=1, accuracy=SPARSE_ACCURACY if sensor else 0.05)
        asked = thin.part(held)
        at = asked.rows, asked.columns
        before.append(asked.log_depth - small[at])
        after.append(asked.log_depth - tried.log_depth[at])
    if not before:
        return Verdict("", nan, nan)
    corners = set(evidence.counts()) == {"matches"}
    return judge(np.concatenate(before), np.concatenate(after), order, sensor=sensor, corners=corners)


def _spread(fused: Fused, distance: Map, evidence: Evidence, verdict: Verdict, network: float) -> Map:
    own = float(np.median(evidence.sigma))
    # Where too little could be held back, what the evidence says of itself has to do.
    before, after = (
        1.4826 * value if np.isfinite(value) else other
        for value, other in ((verdict.before, network), (verdict.after, own))
    )
    if _of_sensor(evidence):
        # Its points lie anywhere: what is held back tells how the error grows from one to the next.
        before = min(before, after / grown(spacing(evidence) / 2))
        after = own / OWN
    return deviation(fused.log_depth, distance, before, max(after, own), evidence.common, network)


def _of_sensor(evidence: Evidence) -> bool:
    return set(evidence.counts()) == {"measured"}
