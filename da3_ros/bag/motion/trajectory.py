# SPDX-License-Identifier: Apache-2.0
"""One trajectory and one scale from chunks that overlap: each is aligned with the one before it by a similarity, and
all of them are then adjusted together (a pose graph), with loops where there are any and with the chunks' own metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from da3_ros.bag.motion.chunks import Chunk, ChunkView
from da3_ros.bag.motion.similarity import Shared, Similarities, Similarity, align, cauchy
from da3_ros.geometry.poses import invert, quaternion_from_matrix

Array = NDArray[np.float64]
SAMPLES = 400
"""Pixels of a shared view that an alignment uses."""
_METRE_STD = 0.05
"""How far the metre of one chunk is off, as the log of a factor."""


@dataclass(frozen=True)
class Edge:
    """How two chunks stand to each other, and how sure that is."""

    a: int
    b: int
    S_a_b: Similarity
    sigma: tuple[float, float, float] = (0.02, np.radians(0.5), 0.02)
    """Standard deviations: position relative to the depth, rotation (rad), log of the scale."""
    doubtful: bool = False
    """Whether it may be wrong altogether: it then weighs less the worse it fits."""


@dataclass(frozen=True)
class Trajectory:
    """Where everything was, in one world: the first chunk's frame, in metres where any chunk knows them."""

    chunks: tuple[Similarity, ...]
    """S_world_chunk of each."""
    owner: dict[int, int]
    """The chunk that each set's geometry is taken from: the one that has it nearest to its middle."""
    stamps: dict[int, int]
    """Nanoseconds, by set."""
    bodies: dict[int, Array]
    """T_world_body (4, 4), by set."""
    lost: frozenset[int]
    """Sets whose motion nothing tells: they stand where the one before does."""
    metric: bool
    loops: tuple[Edge, ...] = ()
    drift: float = 1.0
    """Largest factor between the scales of two chunks before they were aligned."""


def sequence(chunks: Sequence[Chunk]) -> list[Edge | None]:
    """Edge from each chunk to the one before it; None where they have nothing in common (and for the first)."""
    edges: list[Edge | None] = [None] if chunks else []
    for number in range(1, len(chunks)):
        before, own = chunks[number - 1], chunks[number]
        shared = shared_views(before, own) if own.track == before.track else []
        if own.known and before.known:
            edges.append(Edge(number - 1, number, Similarity.identity(), (1e-4, 1e-5, 1e-4)))
        else:
            edges.append(Edge(number - 1, number, align(shared)) if shared else None)
    return edges


def naive_sequence(chunks: Sequence[Chunk]) -> list[Edge | None]:
    """The same without any alignment, to compare with: each chunk hangs rigidly on the last set that it has in common
    with the one before.
    """
    edges: list[Edge | None] = [None] if chunks else []
    for number in range(1, len(chunks)):
        before, own = chunks[number - 1], chunks[number]
        common = sorted(set(before.sets) & set(own.sets))
        if own.track != before.track or not common:
            edges.append(None)
            continue
        T_a_body, T_b_body = before.body(common[-1])[0], own.body(common[-1])[0]
        edges.append(Edge(number - 1, number, Similarity.rigid(T_a_body @ invert(T_b_body))))
    return edges


def solve(
    chunks: Sequence[Chunk], edges: Sequence[Edge | None], wide: Sequence[Edge] = (), loops: Sequence[Edge] = ()
) -> Trajectory:
    """The trajectory. edges: of `sequence`; a chunk without one begins anew at the origin. wide: edges between chunks
    that are neighbours but one or more; loops: between ones that see a place again.
    """
    placed = chain(edges)
    kept = [edge for edge in edges if edge is not None]
    metric = [i for i, chunk in enumerate(chunks) if chunk.scale.metric]
    if wide or loops or metric:
        placed = adjust(placed, [*kept, *wide, *loops], chunks, metric)
    scales = [edge.S_a_b.scale for edge in kept] or [1.0]
    drift = float(max(np.exp(np.ptp(np.cumsum([0.0, *np.log(scales)]))), 1.0))
    owner = _owners(chunks)
    stamps, bodies, lost = {}, {}, set()
    for number, index in sorted(owner.items()):
        chunk = chunks[index]
        T_chunk_body, known = chunk.body(number)
        bodies[number] = _moved(placed[index], chunk, number, T_chunk_body)
        stamps[number] = next(view.stamp_ns for view in chunk.views if view.key[0] == number)
        if not known:
            lost.add(number)
    return Trajectory(tuple(placed), owner, stamps, bodies, frozenset(lost), bool(metric), tuple(loops), drift)


def _moved(placed: Similarity, chunk: Chunk, number: int, T_chunk_body: Array) -> Array:
    """T_world_body. Mounts are rigid and in metres: the camera moves with the similarity, not the mount."""
    view = next(view for view in chunk.views if view.key[0] == number)
    mount = chunk.mounts.get(view.key[1])
    if mount is None:
        return placed.pose(T_chunk_body)
    return np.asarray(placed.pose(view.T_chunk_camera) @ invert(mount))


def chain(edges: Sequence[Edge | None]) -> list[Similarity]:
    """S_world_chunk of each chunk along the edges."""
    placed: list[Similarity] = []
    for edge in edges:
        placed.append(Similarity.identity() if edge is None else placed[-1] @ edge.S_a_b)
    return placed


def adjust(
    placed: Sequence[Similarity], edges: Sequence[Edge], chunks: Sequence[Chunk], metric: Sequence[int]
) -> list[Similarity]:
    """Places that agree with all edges as well as can be, doubtful ones that do not fit weigh less (Cauchy). The first
    chunk stays; metric: chunks whose unit is a metre, so that their scale in the world should be 1.
    """
    from scipy.optimize import least_squares
    from scipy.sparse import lil_matrix

    count = len(placed)
    reach = [_reach(chunk) for chunk in chunks]
    start = np.concatenate([place.vector() for place in placed])
    rows = 7 * len(edges) + 7 + len(metric)
    pattern = lil_matrix((rows, 7 * count), dtype=int)
    for row, edge in enumerate(edges):
        for node in (edge.a, edge.b):
            pattern[7 * row : 7 * row + 7, 7 * node : 7 * node + 7] = 1
    pattern[7 * len(edges) : 7 * len(edges) + 7, :7] = 1
    for row, node in enumerate(metric):
        pattern[7 * len(edges) + 7 + row, 7 * node + 6] = 1
    known = Similarities.of([edge.S_a_b for edge in edges]).inverse()
    a, b = (np.array([getattr(edge, end) for edge in edges], int) for end in "ab")
    sigma = np.array([[edge.sigma[0] * reach[edge.b]] * 3 + [edge.sigma[1]] * 3 + [edge.sigma[2]] for edge in edges])
    sigma = sigma.reshape(-1, 7)
    doubtful = np.array([edge.doubtful for edge in edges], bool)

    def residuals(vector: Array) -> Array:
        table = vector.reshape(count, 7)
        now = Similarities.from_vectors(table)
        gap = (known @ now[a].inverse() @ now[b]).vectors() / sigma
        gap[doubtful] = cauchy(gap[doubtful])
        anchor = (table[0] - start[:7]) / 1e-4
        if metric:
            anchor[6] = 0.0
        return np.concatenate([gap.ravel(), anchor, table[list(metric), 6] / _METRE_STD])

    found = least_squares(residuals, start, jac_sparsity=pattern.tocsr(), x_scale="jac", max_nfev=30)
    return [Similarity.from_vector(row) for row in found.x.reshape(count, 7)]


def shared_views(a: Chunk, b: Chunk) -> list[Shared]:
    """What two chunks both see."""
    known = a.by_key()
    out = []
    for view in b.views:
        other = known.get(view.key)
        if other is not None and other.found and view.found and other.depth.shape == view.depth.shape:
            out.append(_shared(other, view))
    return out


def _shared(a: ChunkView, b: ChunkView) -> Shared:
    h, w = a.depth.shape
    step = max(1, int(np.sqrt(h * w / SAMPLES)))
    v, u = (grid.ravel() for grid in np.mgrid[step // 2 : h : step, step // 2 : w : step])
    rays = b.camera.rays(np.stack([u, v], axis=1))
    # The network's confidence starts at 1, where it knows nothing.
    confidence = np.sqrt(np.maximum(a.confidence[v, u] - 1, 0) * np.maximum(b.confidence[v, u] - 1, 0)) + 1e-3
    return Shared(a.T_chunk_camera, b.T_chunk_camera, a.depth[v, u], b.depth[v, u], confidence, rays)


def _reach(chunk: Chunk) -> float:
    """Median depth, in the chunk's unit."""
    depths = np.concatenate([view.depth[::8, ::8].ravel() for view in chunk.views])
    good = depths[np.isfinite(depths) & (depths > 0)]
    return float(np.median(good)) if len(good) else 1.0


def _owners(chunks: Sequence[Chunk]) -> dict[int, int]:
    best: dict[int, tuple[float, int]] = {}
    for index, chunk in enumerate(chunks):
        sets = chunk.sets
        for place, number in enumerate(sets):
            distance = abs(place - (len(sets) - 1) / 2)
            if number not in best or distance < best[number][0]:
                best[number] = (distance, index)
    return {number: index for number, (_, index) in best.items()}


def write_tum(path: Path, stamps: Sequence[int], poses: Sequence[Array]) -> Path:
    """A trajectory in TUM's format: seconds, position, quaternion x y z w; poses: T_world_body (4, 4)."""
    lines = []
    for stamp, pose in zip(stamps, poses, strict=True):
        numbers = [*pose[:3, 3], *quaternion_from_matrix(np.asarray(pose[:3, :3], np.float64))]
        seconds, rest = divmod(stamp, 1_000_000_000)
        lines.append(f"{seconds}.{rest:09d} " + " ".join(f"{value:.9g}" for value in numbers))
    path.write_text("\n".join([*lines, ""]))
    return path
