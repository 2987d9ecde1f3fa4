# SPDX-License-Identifier: Apache-2.0
"""What relates chunks that share no set: neighbours but one or more, and places that the cameras come back to.

Both are found by features of key frames and checked by geometry. Two views further apart fix the motion far better than
the sets of one chunk do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from da3_ros.bag.motion.chunks import Chunk, ChunkView
from da3_ros.bag.motion.similarity import Similarity
from da3_ros.bag.motion.trajectory import Edge
from da3_ros.estimation.pose.features import Features, match
from da3_ros.estimation.pose.matches import MatchesConfig, PairMatches, SampleDepth, pair_pose, sample_by
from da3_ros.geometry import AlignmentError, CameraModel, align_scale_shift

Array = NDArray[np.float64]
WIDE = (2, 3, 4)
"""Distances, in chunks, of neighbours that are related directly."""
LOOP = 8
"""Distance, in chunks, from which on seeing the same again closes a loop."""
_FEW = 250
"""Features of an image with which candidates are sought."""
_LEAST = 12
"""Matches among those from which on a candidate is looked at."""
_TRIES = 3
"""Candidates of each chunk that are checked."""
_POSITION, _ROTATION, _SCALE = 0.015, np.radians(0.3), 0.04
"""No edge is better than this: position relative to the depth, rotation, log of the scale."""


@dataclass(frozen=True)
class KeyFrame:
    """What a chunk is recognised by: the first camera of its middle set."""

    view: ChunkView
    features: Features
    few: Features


def key_frame(chunk: Chunk, features: Features) -> KeyFrame:
    """features: of the view that `key_view` names."""
    return _key_frame(key_view(chunk), features)


def _key_frame(view: ChunkView, features: Features) -> KeyFrame:
    step = max(1, len(features.pixels) // _FEW)
    few = Features(features.pixels[::step], features.descriptors[::step], features.camera)
    return KeyFrame(view, features, few)


def write_key_frame(path: Path, frame: KeyFrame) -> None:
    """Keep the features of a key frame."""
    camera = frame.features.camera
    size = (camera.width, camera.height)
    np.savez(path, pixels=frame.features.pixels, descriptors=frame.features.descriptors, K=camera.K, size=size)


def read_key_frame(path: Path, view: ChunkView) -> KeyFrame:
    """What `write_key_frame` kept; view: of the chunk."""
    with np.load(path) as content:
        camera = CameraModel.from_matrix(content["K"], *(int(side) for side in content["size"]))
        return _key_frame(view, Features(content["pixels"], content["descriptors"], camera))


def key_view(chunk: Chunk) -> ChunkView:
    """The view that stands for a chunk."""
    sets = chunk.sets
    middle = sets[len(sets) // 2]
    return next(view for view in chunk.views if view.key[0] == middle)


def wide_edges(chunks: Sequence[Chunk], frames: Sequence[KeyFrame], config: MatchesConfig) -> list[Edge]:
    """Edges between chunks that stand `WIDE` apart, where their key frames match."""
    pairs = [(b - apart, b) for b in range(len(chunks)) for apart in WIDE if b >= apart]
    found = [relate(frames, a, b, config) for a, b in pairs if _may_relate(chunks[a], chunks[b])]
    return [edge for edge in found if edge is not None]


def find_loops(chunks: Sequence[Chunk], frames: Sequence[KeyFrame], config: MatchesConfig) -> list[Edge]:
    """Edges between chunks further apart that see the same place."""
    edges = []
    for b in range(len(chunks)):
        counts = [
            (len(match(frames[a].few, frames[b].few, config.features.ratio)), a)
            for a in range(b - LOOP + 1)
            if _may_relate(chunks[a], chunks[b])
        ]
        for count, a in sorted(counts, reverse=True)[:_TRIES]:
            edge = relate(frames, a, b, config) if count >= _LEAST else None
            edges += [edge] if edge is not None else []
    return edges


def _may_relate(a: Chunk, b: Chunk) -> bool:
    return a.track == b.track and not (a.known and b.known)


def relate(frames: Sequence[KeyFrame], number_a: int, number_b: int, config: MatchesConfig) -> Edge | None:
    """Edge between two chunks by their key frames; None where too few matches agree on one."""
    a, b = frames[number_a], frames[number_b]
    matches = match(a.features, b.features, config.features.ratio)
    if len(matches) < 2 * config.min_matches:
        return None
    pair = PairMatches(
        0, 1, a.features.pixels[matches[:, 0]], b.features.pixels[matches[:, 1]], a.features.camera, b.features.camera
    )
    ratio, found = 1.0, None
    for _ in range(3):  # pose and ratio of the two units depend on each other
        depths = [a.view.depth, (b.view.depth * np.float32(ratio)).astype(np.float32)]
        sample = sample_by(depths)
        found = pair_pose(pair, sample, None, config, None if found is None else found.T_i_j)
        if found is None or found.explained < 2 * config.min_matches:
            return None
        change = _depth_ratio(pair, sample, found.T_i_j)
        if change is None:
            return None
        ratio *= change
        if abs(np.log(change)) < 0.01:
            break
    assert found is not None
    S_a_b = (
        Similarity.rigid(a.view.T_chunk_camera)
        @ Similarity.rigid(found.T_i_j)
        @ Similarity(ratio, np.eye(3), np.zeros(3))
        @ Similarity.rigid(b.view.T_chunk_camera).inverse()
    )
    spread = np.sqrt(np.diag(found.covariance))
    reach = float(np.nanmedian(np.where(np.isfinite(a.view.depth), a.view.depth, np.nan)))
    position = max(_POSITION, float(np.sqrt(np.mean(spread[:3] ** 2))) / reach)
    rotation = max(_ROTATION, float(np.sqrt(np.mean(spread[3:] ** 2))))
    return Edge(number_a, number_b, S_a_b, (position, rotation, _SCALE), doubtful=True)


def _depth_ratio(pair: PairMatches, sample: SampleDepth, T_a_b: Array) -> float | None:
    """By how much b's depth is too small against a's, at matched points: of what b sees, moved to a, and a's own."""
    z_a, z_b = sample(0, pair.pixels_i, pair.camera_i), sample(1, pair.pixels_j, pair.camera_j)
    rays = pair.camera_j.rays(pair.pixels_j)
    # z_a = s z_b (R ray)_z + t_z: what is left of the shift is known.
    along = z_b * (rays @ T_a_b[:3, :3].T)[:, 2]
    try:
        fit = align_scale_shift(along, z_a - T_a_b[2, 3], fit_shift=False)
    except AlignmentError:
        return None
    return fit.scale
