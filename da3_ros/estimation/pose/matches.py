# SPDX-License-Identifier: Apache-2.0
"""Pose source ``matches``: features matched between views, lifted with the estimated depth, adjusted together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.pose.adjustment import Adjusted, Links, Noise, adjust, adjust_closely
from da3_ros.estimation.pose.features import FeatureConfig, Features, detect, match
from da3_ros.geometry.cameras import CameraModel
from da3_ros.geometry.poses import from_rotation_translation, invert

Array = NDArray[np.float64]
SampleDepth = Callable[[int, Array, CameraModel], Array]
"""(view, pixels (N, 2), their camera) -> estimated depth (N,); not finite where there is none."""

# Wide for the first guess: depth from a network may move a point by many pixels.
_PNP_PIXELS, _PNP_ROUNDS = 8.0, 300
_EPIPOLAR_PIXELS = 1.0
_FEW, _SOME = 4, 150  # steps, and matches, that tell which start is best
_NEAR = 1e-4
_ABOUT_PIXELS = 8.0  # poses that hang on each other in a row are off by this, before all are adjusted together
_CLEARLY = 0.8  # share of the matches that leaves no doubt about a start
_FITS = 0.5  # weight from which on a match counts as explained
_TWICE = 2.0  # every match stands in two links, so that its noise is counted twice


@dataclass(frozen=True)
class MatchesConfig:
    """How poses are found by matching. Raises ValueError for a value outside its range."""

    min_matches: int = 20
    """Explained matches that a pose needs at least."""
    features: FeatureConfig = field(default_factory=FeatureConfig)
    noise: Noise = field(default_factory=lambda: Noise(depth=0.3))
    """Depth: about the error that small networks make on scenes that they do not know."""

    def __post_init__(self) -> None:
        if self.min_matches < 8:
            raise ValueError(f"min_matches must be at least 8, got {self.min_matches}")


@dataclass(frozen=True)
class PairMatches:
    """Matched pixels of two views."""

    i: int
    j: int
    pixels_i: Array
    """(N, 2)."""
    pixels_j: Array
    camera_i: CameraModel
    """Camera of the size that `pixels_i` count in."""
    camera_j: CameraModel


@dataclass(frozen=True)
class MatchedPose:
    """One view's pose and what it rests on."""

    T_world_camera: Array
    """(4, 4), in the unit of the depth."""
    covariance: Array
    """(6, 6) of position and rotation about the world's axes."""
    inliers: int
    """Explained matches with other views."""


def sample_by(depths: Sequence[NDArray[np.float32]]) -> SampleDepth:
    """Samples depth maps (h, w), one a view, whatever the size of the image that pixels count in; nearest neighbour."""

    def sample(view: int, pixels: Array, camera: CameraModel) -> Array:
        h, w = depths[view].shape
        u = np.clip(np.rint((pixels[:, 0] + 0.5) * w / camera.width - 0.5).astype(int), 0, w - 1)
        v = np.clip(np.rint((pixels[:, 1] + 0.5) * h / camera.height - 0.5).astype(int), 0, h - 1)
        return depths[view][v, u].astype(np.float64)

    return sample


class Matcher:
    """Matches views; remembers features and matches of views that come again (windows of past frames)."""

    def __init__(self, config: MatchesConfig | None = None) -> None:
        self.config = config or MatchesConfig()
        self._features: dict[object, Features] = {}
        self._pairs: dict[object, NDArray[np.int64]] = {}

    def __call__(
        self,
        images: Sequence[NDArray[np.uint8]],
        cameras: Sequence[CameraModel | None],
        keys: Sequence[object] | None = None,
        groups: Sequence[Sequence[int]] = (),
    ) -> list[PairMatches]:
        """Matches of every pair of views whose cameras are known.

        images: (H, W, 3) RGB without distortion; cameras: of these images; keys: the same for the same image, each
        only once; groups: numbers of every view; two with the same number are not matched, they tell nothing new.
        """
        keys = keys if keys is not None else [object() for _ in images]
        features = {}
        for view, (image, camera, key) in enumerate(zip(images, cameras, keys, strict=True)):
            if camera is not None:
                known = self._features.get(key)
                features[view] = known if known is not None else detect(image, camera, self.config.features)
        pairs: dict[object, NDArray[np.int64]] = {}
        out = []
        for i, j in combinations(features, 2):
            if any(group[i] == group[j] for group in groups):
                continue
            key = (keys[i], keys[j])
            a, b = features[i], features[j]
            found = self._pairs.get(key)
            pairs[key] = found if found is not None else match(a, b, self.config.features.ratio)
            if len(pairs[key]) >= self.config.min_matches:
                at_i, at_j = pairs[key].T
                out.append(PairMatches(i, j, a.pixels[at_i], b.pixels[at_j], a.camera, b.camera))
        self._features = {keys[view]: found for view, found in features.items()}
        self._pairs = pairs
        return out


def poses_from_matches(
    pairs: Sequence[PairMatches],
    depth: SampleDepth,
    known: Sequence[Array | None],
    guess: Array | None = None,
    config: MatchesConfig | None = None,
    mounts: Sequence[tuple[int, Array] | None] | None = None,
    begin: Sequence[Array | None] | None = None,
) -> list[MatchedPose | None]:
    """Pose of every view that hangs together with a known one; None for those with too few explained matches.

    known: T_world_camera (4, 4) where given; if none is, the first view is the world. guess: T_world_camera (S, 4, 4)
    of a network, tried as a start besides those from the matches. mounts: number of the rigid body that carries a view
    and T_body_camera, where that is known: such views move together. begin: poses by other depth of the same matches;
    where there is one of every view they are adjusted, instead of being sought anew. Known views come back as given.
    """
    config = config or MatchesConfig()
    views = len(known)
    mounts = mounts if mounts is not None else [None] * views
    poses = [None if pose is None else np.asarray(pose, np.float64) for pose in known]
    if not any(pose is not None for pose in poses):
        poses[0] = np.eye(4)
    _carry(poses, mounts)
    fixed = np.array([pose is not None for pose in poses])
    if begin is not None and all(pose is not None for pose in begin):
        poses = [first if pose is None else pose for pose, first in zip(poses, begin, strict=True)]
        active = [link for pair in pairs for link in links_of(pair, depth, config.min_matches)]
        lost = np.zeros(views, bool)
    else:
        starts = None if guess is None else dict(enumerate(guess))
        measured = _place(poses, pairs, mounts, lambda pair: pair_pose(pair, depth, starts, config))
        lost = np.array([pose is None for pose in poses])
        active = [link for found in measured.values() if found is not None for link in found.links]
        for pair in pairs:
            if (pair.i, pair.j) not in measured and not (lost[pair.i] or lost[pair.j]):
                active += _agreeing(pair, poses, depth, config)
    start = np.stack([np.eye(4) if pose is None else pose for pose in poses])
    out = [MatchedPose(pose, np.zeros((6, 6)), 0) if at else None for pose, at in zip(start, fixed, strict=True)]
    if active:
        bodies = [-1 - v if mount is None else mount[0] for v, mount in enumerate(mounts)]
        result = adjust_closely(start, active, fixed | lost, config.noise, bodies)
        inliers = _explained(active, result, bodies)
        for v in np.flatnonzero(~fixed & ~lost):
            if inliers[bodies[v]] >= config.min_matches:
                out[v] = MatchedPose(result.poses[v], _TWICE * result.covariance[v], inliers[bodies[v]])
    return out


def _explained(links: Sequence[Links], result: Adjusted, bodies: Sequence[int]) -> dict[int, int]:
    """Explained matches of each body with others."""
    counts = dict.fromkeys(bodies, 0)
    for link, weights in zip(links, result.weights, strict=True):
        # Every match is in two links, one for the depth of either side: those of a view's own depth count it once.
        if bodies[link.i] != bodies[link.j]:
            counts[bodies[link.i]] += int((weights > _FITS).sum())
    return counts


def _carry(poses: list[Array | None], mounts: Sequence[tuple[int, Array] | None]) -> None:
    """Fill in the views whose body carries one that has a pose."""
    body = {
        mount[0]: pose @ invert(mount[1])
        for pose, mount in zip(poses, mounts, strict=True)
        if pose is not None and mount is not None
    }
    for v, mount in enumerate(mounts):
        if poses[v] is None and mount is not None and mount[0] in body:
            poses[v] = body[mount[0]] @ mount[1]


def _place(
    poses: list[Array | None],
    pairs: Sequence[PairMatches],
    mounts: Sequence[tuple[int, Array] | None],
    solve: Callable[[PairMatches], PairPose | None],
) -> dict[tuple[int, int], PairPose | None]:
    """Absolute poses along the pairs with the most matches (a maximum spanning tree from the known views); returns the
    pairs that were solved for it, None for those in which too few matches agree.
    """
    solved: dict[tuple[int, int], PairPose | None] = {}
    while True:
        reach = [p for p in pairs if (poses[p.i] is None) != (poses[p.j] is None) and (p.i, p.j) not in solved]
        if not reach:
            return solved
        pair = max(reach, key=lambda pair: len(pair.pixels_i))
        found = solved[pair.i, pair.j] = solve(pair)
        if found is None:
            continue
        pose_i, pose_j = poses[pair.i], poses[pair.j]
        if pose_i is not None:
            poses[pair.j] = pose_i @ found.T_i_j
        elif pose_j is not None:
            poses[pair.i] = pose_j @ invert(found.T_i_j)
        _carry(poses, mounts)


def _agreeing(
    pair: PairMatches, poses: Sequence[Array | None], depth: SampleDepth, config: MatchesConfig
) -> list[Links]:
    """The matches of a pair whose views are placed by others; none where too few of them fit these poses, about."""
    links = links_of(pair, depth, config.min_matches)
    if not links:
        return []
    both = np.stack([pose for pose in (poses[pair.i], poses[pair.j]) if pose is not None])
    own = [replace(links[0], i=0, j=1), replace(links[1], i=1, j=0)]
    noise = replace(config.noise, pixel=_ABOUT_PIXELS)
    found = adjust(both, own, np.array([True, True]), noise, iterations=_FEW)
    return links if _mean_explained(found) >= config.min_matches else []


def _mean_explained(found: Adjusted) -> float:
    return float(np.mean([(weight > _FITS).sum() for weight in found.weights]))


@dataclass(frozen=True)
class PairPose:
    """How two views stand to each other."""

    T_i_j: Array
    covariance: Array
    """(6, 6) of position and rotation about the axes of view i."""
    links: tuple[Links, Links]
    """The matches with depth, in both directions."""
    explained: float
    """Matches that agree."""


def pair_pose(
    pair: PairMatches,
    depth: SampleDepth,
    guess: Mapping[int, Array] | None,
    config: MatchesConfig,
    begin: Array | None = None,
) -> PairPose | None:
    """Pose between the two views of a pair; None where too few matches agree on one. guess: T_world_camera (4, 4) of
    both views, tried as a start besides those from the matches. begin: T_i_j (4, 4) by other depth of the same matches,
    which is adjusted, instead of one being sought anew.
    """
    found = links_of(pair, depth, config.min_matches)
    if not found:
        return None
    there, back = replace(found[0], i=0, j=1), replace(found[1], i=1, j=0)
    fixed = np.array([True, False])
    if begin is None:
        T_j_i = None if guess is None else invert(guess[pair.j]) @ guess[pair.i]
        # A few steps tell which start leads to the best explanation; only that way is gone to its end.
        some, begun = [_thinned(link) for link in (there, back)], []
        for start in _first_guesses(there, back, T_j_i):
            begun.append(adjust(np.stack([np.eye(4), invert(start)]), some, fixed, config.noise, iterations=_FEW))
            if _mean_explained(begun[-1]) > _CLEARLY * len(some[0].depth_i):
                break  # no other can explain what is left, which are mostly wrong matches
        first = min(begun, key=lambda result: result.cost).poses
    else:
        first = np.stack([np.eye(4), begin])
    # All views are adjusted together afterwards.
    best = adjust(first, [there, back], fixed, config.noise, tolerance=_NEAR)
    explained = _mean_explained(best)
    if explained < config.min_matches:
        return None
    return PairPose(best.poses[1], _TWICE * best.covariance[1], (found[0], found[1]), explained)


def links_of(pair: PairMatches, depth: SampleDepth, least: int) -> list[Links]:
    """The matches of a pair with the depth of either side, there and back; none where fewer than `least` have any."""
    z_i, z_j = depth(pair.i, pair.pixels_i, pair.camera_i), depth(pair.j, pair.pixels_j, pair.camera_j)
    good = np.isfinite(z_i) & np.isfinite(z_j) & (z_i > 0) & (z_j > 0)
    if good.sum() < least:
        return []
    p_i, p_j = pair.pixels_i[good], pair.pixels_j[good]
    return [
        Links(pair.i, pair.j, pair.camera_i, pair.camera_j, p_i, p_j, z_i[good]),
        Links(pair.j, pair.i, pair.camera_j, pair.camera_i, p_j, p_i, z_j[good]),
    ]


def _thinned(link: Links) -> Links:
    """Every so many matches."""
    rows = slice(None, None, -(-len(link.depth_i) // _SOME))
    return replace(link, pixels_i=link.pixels_i[rows], pixels_j=link.pixels_j[rows], depth_i=link.depth_i[rows])


def _first_guesses(there: Links, back: Links, guess: Array | None) -> Iterator[Array]:
    """T_j_i: none moved, the network's, from points and pixels (PnP) both ways, from the epipolar geometry."""
    yield np.eye(4)
    if guess is not None:
        yield guess
    for link in (there, back):
        k = link.camera_j.K
        points = link.camera_i.rays(link.pixels_i) * link.depth_i[:, None]
        ok, rotation, translation, _ = cv2.solvePnPRansac(
            points, link.pixels_j, k, np.zeros(4),
            iterationsCount=_PNP_ROUNDS, reprojectionError=_PNP_PIXELS, flags=cv2.SOLVEPNP_AP3P,
        )  # fmt: skip
        if ok:
            found = from_rotation_translation(cv2.Rodrigues(rotation)[0], translation[:, 0])
            yield np.asarray(found) if link is there else np.asarray(invert(found))
    yield from _from_epipolar_geometry(there)


def _from_epipolar_geometry(link: Links) -> Iterator[Array]:
    """T_j_i of the essential matrix, its length from the depth."""
    a, b = link.camera_i.rays(link.pixels_i), link.camera_j.rays(link.pixels_j)
    limit = _EPIPOLAR_PIXELS / max(link.camera_i.fx, link.camera_j.fx)
    essential, mask = cv2.findEssentialMat(a[:, :2], b[:, :2], np.eye(3), cv2.USAC_MAGSAC, 0.999, limit)
    if essential is None or essential.shape != (3, 3):
        return
    _, rotation, translation, mask = cv2.recoverPose(essential, a[:, :2], b[:, :2], np.eye(3), mask=mask)
    inliers = mask[:, 0] > 0
    if inliers.sum() < 5:
        return
    # b x (R a z + s t) = 0 for every match gives its length s.
    moved = np.cross(b, (a * link.depth_i[:, None]) @ rotation.T)
    along = np.cross(b, np.broadcast_to(translation[:, 0], b.shape))
    lengths = -(moved * along).sum(1) / np.maximum((along * along).sum(1), 1e-12)
    length = max(float(np.median(lengths[inliers])), 0.01 * float(np.median(link.depth_i)))
    yield np.asarray(from_rotation_translation(rotation, length * translation[:, 0]))
