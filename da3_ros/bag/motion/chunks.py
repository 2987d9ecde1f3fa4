# SPDX-License-Identifier: Apache-2.0
"""Chunks: sets of a recording that the network sees together, and their geometry in a frame and a unit of their own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.atomic import replacing
from da3_ros.bag.motion.refined import has_rig, refine_chunk, refine_moments
from da3_ros.estimation import (
    EngineFault,
    Estimate,
    Estimator,
    PoseEstimate,
    RefinementConfig,
    ScaleEstimate,
    View,
    ViewEstimate,
    ViewRefinement,
    ViewSet,
)
from da3_ros.estimation.lens import rectify
from da3_ros.estimation.pose.features import FeatureConfig, Features, detect, match
from da3_ros.estimation.pose.matches import MatchesConfig, PairMatches, poses_from_matches, sample_by
from da3_ros.estimation.refinement import Refined
from da3_ros.estimation.steps import Stages
from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import invert

Array = NDArray[np.float64]
Key = tuple[int, str]
"""A view: its set's number, and its camera."""


@dataclass(frozen=True)
class ChunkView:
    """One view in a chunk."""

    key: Key
    stamp_ns: int
    depth: NDArray[np.float32]
    """(h, w) along the optical axis in the chunk's unit, neither cut at a range nor by confidence."""
    confidence: NDArray[np.float32]
    camera: CameraModel
    """Of the depth image, without distortion."""
    T_chunk_camera: Array
    """(4, 4), in the chunk's unit."""
    found: bool
    """Whether matches or calibration tell the pose; else it is that of the set before."""
    stddev: NDArray[np.float32] | None = None
    """(h, w), standard deviation of depth in its unit; None: not refined."""
    refinement: ViewRefinement | None = None
    """What the refinement did, without its maps."""
    fault: EngineFault | None = None
    """What the engine said of it that cannot be."""


@dataclass(frozen=True)
class Chunk:
    """Geometry of some consecutive sets."""

    track: int
    """Chunks of one track hang together; a jump in time begins another."""
    views: tuple[ChunkView, ...]
    mounts: dict[str, Array]
    """T_body_camera (4, 4) of the cameras, in metres; the identity for the first camera where nothing is known."""
    known: bool
    """Whether the poses are the robot's own."""
    scale: ScaleEstimate
    timing: dict[str, float]
    """Milliseconds."""

    @property
    def sets(self) -> list[int]:
        """Numbers of the sets, in order."""
        return sorted({view.key[0] for view in self.views})

    def body(self, number: int) -> tuple[Array, bool]:
        """T_chunk_body (4, 4) of a set by its first camera, and whether it is known."""
        view = next(view for view in self.views if view.key[0] == number)
        mount = self.mounts.get(view.key[1], np.eye(4))
        return np.asarray(view.T_chunk_camera @ invert(mount)), view.found

    def by_key(self) -> dict[Key, ChunkView]:
        return {view.key: view for view in self.views}


@dataclass(frozen=True)
class Seen:
    """What the engine said of the views of a chunk."""

    track: int
    views: tuple[View, ...]
    keys: tuple[Key, ...]
    estimate: Estimate


class ChunkEstimator:
    """Estimates chunks; remembers features of the sets that the next chunk has in common."""

    def __init__(
        self,
        estimator: Estimator,
        config: MatchesConfig,
        refinement: RefinementConfig | None = None,
        pool: Executor | None = None,
    ) -> None:
        """estimator: asked for depth only (`pose.source: network`, no range, no confidence filter, no refinement);
        refinement: of a chunk's views with each other, once their poses are known; pool: finds features while the
        engine works, None: they are found when they are needed.
        """
        self._estimator, self.config, self._refinement = estimator, config, refinement
        self._pool = pool
        self._features: dict[Key, Features | Future[Features]] = {}
        self._matched: dict[tuple[Key, Key], NDArray[np.int64]] = {}

    def __call__(self, track: int, sets: Sequence[tuple[int, Sequence[View]]]) -> Chunk:
        """Geometry of sets, each with its number and views. The chunk's frame is that of the first set's poses."""
        return self.settle(self.see(track, sets))

    def see(self, track: int, sets: Sequence[tuple[int, Sequence[View]]]) -> Seen:
        """The engine's part, which may run while `settle` is at the chunk before."""
        views: list[View] = []
        keys: list[Key] = []
        for place, (number, own) in enumerate(sets):
            keys += [(number, view.name) for view in own]
            # The robot's own motion is kept; mounts alone tell the first set's poses, and later ones are to be found.
            fixed = place == 0
            views += [
                replace(view, body=place, pose=view.pose if fixed or view.pose_source == "odometry" else None)
                for view in own
            ]
        if self._pool is not None and not all(view.pose is not None for view in views):
            for view, key in zip(views, keys, strict=True):
                if key not in self._features:
                    self._features[key] = self._pool.submit(_find_features, view, self.config.features)
        self._estimator.reset()  # a chunk depends on nothing before it
        return Seen(track, tuple(views), tuple(keys), self._estimator(ViewSet(views)))

    def settle(self, seen: Seen) -> Chunk:
        """Poses and refined depth of what was seen; chunks must come in their order."""
        views, keys, estimate = seen.views, seen.keys, seen.estimate
        depths = [view.depth for view in estimate.views]
        known = all(view.pose is not None for view in views)
        poses: list[PoseEstimate | None] = [view.pose for view in estimate.views]
        milliseconds, pairs = dict(estimate.timing), []
        clock = Stages()
        if not known:
            pairs = self._matches(views, keys, [view.camera for view in estimate.views])
            poses = self._poses(views, pairs, depths)
            clock.lap("poses")
        refined: Sequence[Refined | None] = [None] * len(views)
        if self._refinement is not None and self._refinement.source != "none":
            metric, sweeper = estimate.scale.metric, self._estimator.sweeper
            if metric and not known and has_rig(views):
                # The motion is known in the unit of depth only: leaning on it would keep what is wrong with that.
                refined = refine_moments(views, estimate.views, self._refinement, sweeper)
            else:
                refined = refine_chunk(views, estimate.views, poses, self._refinement, metric=metric, sweeper=sweeper)
            depths = [d if better is None else better.depth for d, better in zip(depths, refined, strict=True)]
            if not known and any(better is not None for better in refined):  # better depth tells better poses
                poses = self._poses(views, pairs, depths, poses)
            clock.lap("refinement")
        milliseconds.update(clock.milliseconds)
        placed, found = _held(views, [None if pose is None else pose.T_world_camera for pose in poses])
        mounts = {view.name: view.mount for view in views if view.mount is not None}
        faults = {fault.index: fault for fault in estimate.faults}
        chunk = tuple(
            replace(_chunk_view(key, view, np.asarray(pose), better, found=at), fault=faults.get(i))
            for i, (key, view, pose, better, at) in enumerate(
                zip(keys, estimate.views, placed, refined, found, strict=True)
            )
        )
        return Chunk(seen.track, chunk, mounts, known, estimate.scale, milliseconds)

    def _matches(self, views: Sequence[View], keys: Sequence[Key], cameras: Sequence[CameraModel]) -> list[PairMatches]:
        features = {
            key: self.features(view, key, camera) for view, key, camera in zip(views, keys, cameras, strict=True)
        }
        begin = min(number for number, _ in keys)
        for key in list(self._features):  # at once: `see` adds those of the next chunk meanwhile
            if key[0] < begin:
                del self._features[key]  # no later chunk has it
        known = {pair: found for pair, found in self._matched.items() if min(pair[0][0], pair[1][0]) >= begin}
        self._matched = {}
        pairs = []
        for i, j in _partners(views):
            a, b = features[keys[i]], features[keys[j]]
            pair = (keys[i], keys[j])
            matches = known[pair] if pair in known else match(a, b, self.config.features.ratio)
            self._matched[pair] = matches
            if len(matches) >= self.config.min_matches:
                at_i, at_j = matches.T
                pairs.append(PairMatches(i, j, a.pixels[at_i], b.pixels[at_j], a.camera, b.camera))
        return pairs

    def features(self, view: View, key: Key, camera: CameraModel) -> Features:
        """Of a view; camera: what it is taken for where its own is not known."""
        kept = self._features.get(key)
        found = kept.result() if isinstance(kept, Future) else kept
        if found is None:
            found = _find_features(view, self.config.features)
        self._features[key] = found
        return replace(found, camera=(view.straight_camera() or camera).scaled(found.camera.width, found.camera.height))

    def _poses(
        self,
        views: Sequence[View],
        pairs: Sequence[PairMatches],
        depths: Sequence[NDArray[np.float32]],
        before: Sequence[PoseEstimate | None] | None = None,
    ) -> list[PoseEstimate | None]:
        """before: poses by other depth, to begin with."""
        mounts = [None if view.mount is None else (view.body, view.mount) for view in views]
        known = [view.pose for view in views]
        begin = None if before is None else [None if pose is None else pose.T_world_camera for pose in before]
        matched = poses_from_matches(pairs, sample_by(depths), known, None, self.config, mounts, begin)
        return [
            None if pose is None else PoseEstimate(pose.T_world_camera, "matches", pose.covariance) for pose in matched
        ]


def _find_features(view: View, config: FeatureConfig) -> Features:
    """Of the view without distortion, at a size that its camera has; the lens is another's business."""
    image = rectify(view.image, view.camera)[0]
    height, width = image.shape[:2]
    any_lens = CameraModel.pinhole(width, height, width, width, width / 2, height / 2)
    return detect(image, view.straight_camera() or any_lens, config)


def _chunk_view(key: Key, view: ViewEstimate, pose: Array, better: Refined | None, *, found: bool) -> ChunkView:
    if better is None:
        return ChunkView(key, view.stamp_ns, view.depth, view.confidence, view.camera, pose, found)
    report = replace(better.report, evidence=None, unrefined=None)
    return ChunkView(
        key, view.stamp_ns, better.depth, better.confidence, view.camera, pose, found, better.stddev, report
    )


def _partners(views: Sequence[View]) -> list[tuple[int, int]]:
    """Pairs of views to match: the same camera at some distances in time, and cameras of one moment that nothing
    else relates.
    """
    last = views[-1].body
    spans = {1, 2, 4, 8, 16, last}
    pairs = []
    for i, a in enumerate(views):
        for j in range(i + 1, len(views)):
            b = views[j]
            if a.name == b.name:
                if b.body - a.body in spans and (a.pose is None or b.pose is None):
                    pairs.append((i, j))
            elif a.body == b.body and (a.mount is None or b.mount is None):
                pairs.append((i, j))
    return pairs


def _held(views: Sequence[View], poses: Sequence[Array | None]) -> tuple[list[Array], list[bool]]:
    """Poses without gaps: where nothing tells one, the same camera's of the set before (or after) stands."""
    out, last = list(poses), {view.name: np.eye(4) for view in views}
    for view, pose in reversed(list(zip(views, poses, strict=True))):
        if pose is not None:
            last[view.name] = pose
    for place, (view, pose) in enumerate(zip(views, poses, strict=True)):
        if pose is None:
            out[place] = last[view.name]
        else:
            last[view.name] = pose
    return [np.asarray(pose) for pose in out], [pose is not None for pose in poses]


def write_chunk(path: Path, chunk: Chunk) -> None:
    """Keep a chunk; whole or not at all."""
    head = {
        "track": chunk.track,
        "known": chunk.known,
        "scale": asdict(chunk.scale),
        "timing": chunk.timing,
        "mounts": {name: mount.tolist() for name, mount in chunk.mounts.items()},
        "views": [
            {
                "key": list(view.key),
                "stamp_ns": view.stamp_ns,
                "camera": [view.camera.width, view.camera.height, view.camera.K.tolist()],
                "pose": view.T_chunk_camera.tolist(),
                "found": view.found,
                "refinement": None if view.refinement is None else asdict(view.refinement),
                "fault": None if view.fault is None else asdict(view.fault),
            }
            for view in chunk.views
        ],
    }
    arrays: dict[str, Any] = {f"depth_{i}": view.depth for i, view in enumerate(chunk.views)}
    arrays.update({f"confidence_{i}": view.confidence for i, view in enumerate(chunk.views)})
    arrays.update({f"stddev_{i}": v.stddev for i, v in enumerate(chunk.views) if v.stddev is not None})
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, head=np.frombuffer(json.dumps(head).encode(), np.uint8), **arrays)


def read_chunk(path: Path) -> Chunk:
    """What `write_chunk` kept."""
    with np.load(path) as content:
        head = json.loads(content["head"].tobytes())
        views = []
        for i, view in enumerate(head["views"]):
            width, height, k = view["camera"]
            views.append(
                ChunkView(
                    (view["key"][0], view["key"][1]),
                    view["stamp_ns"],
                    content[f"depth_{i}"],
                    content[f"confidence_{i}"],
                    CameraModel.from_matrix(np.array(k), width, height),
                    np.array(view["pose"]),
                    view["found"],
                    content.get(f"stddev_{i}"),
                    ViewRefinement(**view["refinement"]) if view.get("refinement") else None,
                    EngineFault(**view["fault"]) if view.get("fault") else None,
                )
            )
    mounts = {name: np.array(mount) for name, mount in head["mounts"].items()}
    return Chunk(head["track"], tuple(views), mounts, head["known"], ScaleEstimate(**head["scale"]), head["timing"])
