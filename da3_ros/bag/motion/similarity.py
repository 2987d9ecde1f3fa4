# SPDX-License-Identifier: Apache-2.0
"""Similarities (rotation, translation, scale) between the coordinates of two chunks, and how they are found.

``S_a_b`` takes points given in frame b to frame a: ``x_a = scale * R @ x_b + t``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def _matrix(turn: Array) -> Array:
    """Rotations (..., 3, 3) of rotation vectors (..., 3)."""
    from scipy.spatial.transform import Rotation  # takes as long as all else, and few recordings are done in chunks

    return np.asarray(Rotation.from_rotvec(turn).as_matrix())


def _vector(rotation: Array) -> Array:
    """Inverse of `_matrix`."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_matrix(rotation).as_rotvec())


@dataclass(frozen=True)
class Similarity:
    """``x_a = scale * rotation @ x_b + translation``."""

    scale: float
    rotation: Array
    """(3, 3)."""
    translation: Array
    """(3,), in the unit of a."""

    @classmethod
    def identity(cls) -> Similarity:
        return cls(1.0, np.eye(3), np.zeros(3))

    @classmethod
    def rigid(cls, matrix: Array) -> Similarity:
        """Of a rigid transform (4, 4)."""
        return cls(1.0, matrix[:3, :3], matrix[:3, 3])

    @classmethod
    def from_vector(cls, vector: Array) -> Similarity:
        """Inverse of `vector`."""
        return cls(float(np.exp(vector[6])), _matrix(vector[3:6]), np.array(vector[:3]))

    def vector(self) -> Array:
        """(7,): translation, rotation vector, log of the scale."""
        turn = _vector(self.rotation)
        return np.concatenate([self.translation, turn, [np.log(self.scale)]])

    def __matmul__(self, other: Similarity) -> Similarity:
        """``S_a_b @ S_b_c`` is ``S_a_c``."""
        return Similarity(self.scale * other.scale, self.rotation @ other.rotation, self.points(other.translation))

    def inverse(self) -> Similarity:
        turn = self.rotation.T
        return Similarity(1 / self.scale, turn, -(turn @ self.translation) / self.scale)

    def points(self, points: Array) -> Array:
        """Points (..., 3) of b in a."""
        return np.asarray(self.scale * (points @ self.rotation.T) + self.translation)

    def pose(self, T_b_camera: Array) -> Array:
        """A camera's pose (4, 4) in b as one in a, in the unit of a: ``T_a_camera``."""
        out = np.eye(4)
        out[:3, :3] = self.rotation @ T_b_camera[:3, :3]
        out[:3, 3] = self.points(T_b_camera[:3, 3])
        return out


@dataclass(frozen=True)
class Similarities:
    """Many similarities at once, for an adjustment."""

    scales: Array
    """(N,)."""
    rotations: Array
    """(N, 3, 3)."""
    translations: Array
    """(N, 3)."""

    @classmethod
    def of(cls, items: Sequence[Similarity]) -> Similarities:
        return cls(
            np.array([item.scale for item in items]),
            np.array([item.rotation for item in items]).reshape(-1, 3, 3),
            np.array([item.translation for item in items]).reshape(-1, 3),
        )

    @classmethod
    def from_vectors(cls, table: Array) -> Similarities:
        """Rows (N, 7) of `Similarity.vector`."""
        return cls(np.exp(table[:, 6]), _matrix(table[:, 3:6]), table[:, :3])

    def vectors(self) -> Array:
        """(N, 7)."""
        turns = _vector(self.rotations)
        return np.concatenate([self.translations, turns, np.log(self.scales)[:, None]], axis=1)

    def __getitem__(self, rows: NDArray[np.int_]) -> Similarities:
        return Similarities(self.scales[rows], self.rotations[rows], self.translations[rows])

    def __matmul__(self, other: Similarities) -> Similarities:
        moved = np.einsum("nij,nj->ni", self.rotations, other.translations)
        return Similarities(
            self.scales * other.scales,
            np.einsum("nij,njk->nik", self.rotations, other.rotations),
            self.scales[:, None] * moved + self.translations,
        )

    def inverse(self) -> Similarities:
        turns = np.swapaxes(self.rotations, 1, 2)
        moved = np.einsum("nij,nj->ni", turns, self.translations)
        return Similarities(1 / self.scales, turns, -moved / self.scales[:, None])


@dataclass(frozen=True)
class Shared:
    """One view that two chunks have in common."""

    T_a_camera: Array
    """(4, 4) pose in chunk a, in its unit."""
    T_b_camera: Array
    depth_a: NDArray[np.floating]
    """(N,) depth of the same pixels by both chunks; not finite where it is not known."""
    depth_b: NDArray[np.floating]
    confidence: NDArray[np.floating]
    """(N,), weights of the pixels, at least 0."""
    rays: Array
    """(N, 3) of the pixels in the camera's frame, z = 1."""


@dataclass(frozen=True)
class AlignmentNoise:
    """Standard deviations of what an alignment rests on."""

    depth: float = 0.05
    """Of a point, relative to its depth."""
    rotation: float = np.radians(0.3)
    """Of a camera's rotation in a chunk."""
    position: float = 0.01
    """Of a camera's position in a chunk, relative to the median depth."""
    points: float = 10.0
    """Independent errors of depth in one view: neighbouring pixels err together."""


def align(shared: list[Shared], noise: AlignmentNoise | None = None) -> Similarity:
    """``S_a_b`` of two chunks that have views in common.

    Confident points that both chunks see at the same pixels, and the poses of the shared cameras, are brought to
    agree in the least squares sense; what does not fit weighs ever less (Cauchy). Depth fixes the scale and poses the
    rotation, which depth that is bent would spoil. Raises ValueError where no view is shared.
    """
    from scipy.optimize import least_squares

    if not shared:
        raise ValueError("two chunks without a common view cannot be aligned")
    noise = noise or AlignmentNoise()
    start = _first_guess(shared)
    terms = _Terms.of(shared, noise)
    found = least_squares(
        lambda vector: terms.residuals(Similarity.from_vector(vector)), start.vector(), x_scale="jac", max_nfev=30
    )
    return Similarity.from_vector(found.x)


def _first_guess(shared: list[Shared]) -> Similarity:
    """Scale from the median ratio of depths, rotation and translation from the cameras."""
    from scipy.spatial.transform import Rotation

    ratios, weights = [], []
    for view in shared:
        good = _good(view)
        ratios.append(np.log(view.depth_a[good] / view.depth_b[good]))
        weights.append(view.confidence[good])
    ratio, weight = np.concatenate(ratios), np.concatenate(weights)
    scale = float(np.exp(weighted_median(ratio, weight))) if len(ratio) else 1.0
    turns = np.stack([view.T_a_camera[:3, :3] @ view.T_b_camera[:3, :3].T for view in shared])
    rotation = Rotation.from_matrix(turns).mean().as_matrix()
    offsets = [view.T_a_camera[:3, 3] - scale * rotation @ view.T_b_camera[:3, 3] for view in shared]
    return Similarity(scale, rotation, np.median(offsets, axis=0))


def cauchy(residuals: Array) -> Array:
    """Residuals (N, K) whose squares are Cauchy's cost of each row: beyond three deviations they hardly grow."""
    size = np.linalg.norm(residuals, axis=1, keepdims=True)
    weight = 3 * np.sqrt(np.log1p((size / 3) ** 2)) / np.maximum(size, 1e-9)
    return np.asarray(residuals * np.where(size > 1e-9, weight, 1.0))


def weighted_median(values: Array, weights: Array) -> float:
    """The value below which half of the weight lies."""
    order = np.argsort(values)
    share = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(share, share[-1] / 2)])


def _good(view: Shared) -> NDArray[np.bool_]:
    a, b = view.depth_a, view.depth_b
    with np.errstate(invalid="ignore"):
        return np.isfinite(a) & np.isfinite(b) & (a > 0) & (b > 0) & (view.confidence > 0)


@dataclass(frozen=True)
class _Terms:
    """What the shared views say, in one row: a residual is asked for hundreds of times."""

    points_a: Array
    """(N, 3), of all views, each in its chunk's frame and unit."""
    points_b: Array
    weight: Array
    """(N, 1), the inverse of each point's standard deviation."""
    share: Array
    """(N, 1), of each point's residual: neighbours say the same."""
    T_a_camera: Array
    """(V, 4, 4)."""
    T_b_camera: Array
    rotation_sigma: float
    position_sigma: Array
    """(V, 1)."""

    @classmethod
    def of(cls, shared: Sequence[Shared], noise: AlignmentNoise) -> _Terms:
        rows = []
        for view in shared:
            good = _good(view)
            rays, a, b = view.rays[good], view.depth_a[good].astype(np.float64), view.depth_b[good].astype(np.float64)
            weight = view.confidence[good].astype(np.float64)
            weight = weight / max(weight.mean(), 1e-12) if len(weight) else weight
            sigma = noise.depth * a / np.sqrt(np.maximum(weight, 1e-3))
            points_a = (rays * a[:, None]) @ view.T_a_camera[:3, :3].T + view.T_a_camera[:3, 3]
            points_b = (rays * b[:, None]) @ view.T_b_camera[:3, :3].T + view.T_b_camera[:3, 3]
            share = min(1.0, np.sqrt(noise.points / max(len(a), 1)))
            reach = float(np.median(a)) if len(a) else 1.0
            rows.append((points_a, points_b, 1 / sigma[:, None], np.full((len(a), 1), share), noise.position * reach))
        points_a, points_b, weights, shares, position = zip(*rows, strict=True)
        return cls(
            np.concatenate(points_a),
            np.concatenate(points_b),
            np.concatenate(weights),
            np.concatenate(shares),
            np.stack([view.T_a_camera for view in shared]),
            np.stack([view.T_b_camera for view in shared]),
            noise.rotation,
            np.array(position)[:, None],
        )

    def residuals(self, guess: Similarity) -> Array:
        """(3 N + 6 V,): of points, of the cameras' rotations and of their positions."""
        gap = self.share * cauchy((guess.points(self.points_b) - self.points_a) * self.weight)
        turn = np.swapaxes(self.T_a_camera[:, :3, :3], 1, 2) @ guess.rotation @ self.T_b_camera[:, :3, :3]
        shift = guess.points(self.T_b_camera[:, :3, 3]) - self.T_a_camera[:, :3, 3]
        turned = _vector(turn) / self.rotation_sigma
        return np.concatenate([gap.ravel(), turned.ravel(), (shift / self.position_sigma).ravel()])
