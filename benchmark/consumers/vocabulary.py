# SPDX-License-Identifier: Apache-2.0
"""A small visual vocabulary for ORB-SLAM3, trained on the images it will see: a tree of binary descriptors in DBoW2's
text format. ORB-SLAM3's own, of ten thousand times a thousand words, is 139 MB to download; its binding has none.

Binary bag of words: Gálvez-López and Tardós, "Bags of Binary Words for Fast Place Recognition in Image Sequences",
T-RO 2012, section III: descriptors are clustered by k-medians under the Hamming distance, level by level, and a word
weighs log(N / n), N images of which n show it. The images alone go in: no depth and no pose.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

BRANCHES, LEVELS = 10, 4
L1_NORM, TF_IDF = 0, 0
"""DBoW2's numbers of scoring and weighting, as ORB-SLAM3's own vocabulary has them."""
BYTES = 32
"""Of an ORB descriptor."""
ROUNDS = 10
"""Of the clustering at most; it ends earlier where no descriptor moves."""
FEATURES = 1000
"""Descriptors of an image at most."""
Descriptors = NDArray[np.uint8]
"""(N, 32)."""


@dataclass
class Node:
    """A node of the tree; node 0 is the root, which has no descriptor."""

    parent: int
    descriptor: Descriptors
    """(32,)."""
    is_leaf: bool = False
    weight: float = 0.0
    images: set[int] = field(default_factory=set)
    """Training images that show the word; of leaves only."""


def orb_descriptors(images: Iterable[NDArray[np.uint8]], features: int = FEATURES) -> list[Descriptors]:
    """OpenCV's ORB descriptors of every RGB image (H, W, 3) that has any."""
    detector: Any = cv2.ORB.create(features, fastThreshold=7)
    found = (detector.detectAndCompute(cv2.cvtColor(i, cv2.COLOR_RGB2GRAY), None)[1] for i in images)
    return [np.asarray(d, np.uint8) for d in found if d is not None and len(d)]


def train_vocabulary(
    images: Sequence[Descriptors], branches: int = BRANCHES, levels: int = LEVELS, seed: int = 0
) -> list[Node]:
    """The nodes without the root, parents before children; `parent` counts the root as 0, the first node as 1.

    images: descriptors of each image. A node with one descriptor, or at the last level, is a leaf: a word. Raises
    ValueError for images without any descriptor, and for a tree that DBoW2 does not read.
    """
    if not 2 <= branches <= 20 or not 1 <= levels <= 10:
        raise ValueError(f"DBoW2 reads 2 to 20 branches and 1 to 10 levels, not {branches} and {levels}")
    if not any(len(each) for each in images):
        raise ValueError("a vocabulary needs descriptors, and no image has any: give images with texture")
    everything = np.concatenate(images)
    owner = np.repeat(np.arange(len(images)), [len(each) for each in images])
    signs = _signs(everything)
    rng = np.random.default_rng(seed)
    nodes: list[Node] = []
    level: list[tuple[int, NDArray[np.intp]]] = [(0, np.arange(len(everything)))]
    for depth in range(1, levels + 1):
        below: list[tuple[int, NDArray[np.intp]]] = []
        for parent, members in level:
            centres, label = _clusters(signs[members], branches, rng)
            for number, centre in enumerate(centres):
                own = members[label == number]
                node = Node(parent, np.packbits(centre > 0), depth == levels or len(own) < 2)
                nodes.append(node)
                if node.is_leaf:
                    node.images = set(owner[own].tolist())
                    node.weight = math.log(len(images) / len(node.images))
                else:
                    below.append((len(nodes), own))
        level = below
    return nodes


def vocabulary_text(nodes: Sequence[Node], branches: int = BRANCHES, levels: int = LEVELS) -> str:
    """DBoW2's text format: `k L scoring weighting`, then for each node its parent, whether it is a leaf, the bytes of
    its descriptor, and its weight. Its reader would take an empty last line for one more node, so there is none.
    """
    lines = [f"{branches} {levels} {L1_NORM} {TF_IDF}"]
    for node in nodes:
        numbers = " ".join(map(str, node.descriptor.tolist()))
        lines.append(f"{node.parent} {int(node.is_leaf)} {numbers} {node.weight:.9g}")
    return "\n".join(lines)


def _signs(descriptors: Descriptors) -> NDArray[np.float32]:
    """Bits (N, 256) as -1 and 1: of two their product is 256 minus twice the Hamming distance."""
    return np.unpackbits(descriptors, axis=1).astype(np.float32) * 2 - 1


def _clusters(
    signs: NDArray[np.float32], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """At most `count` medians under the Hamming distance (k, 256) as signs, none of them empty, and who belongs to
    which. The first ones are drawn by k-means++ (Arthur and Vassilvitskii, SODA 2007).
    """
    centres = signs[[rng.integers(len(signs))]]
    distance = _hamming(signs, centres)[:, 0]
    while len(centres) < count and distance.any():
        chance = distance.astype(np.float64) ** 2
        chosen = rng.choice(len(signs), p=chance / chance.sum())
        centres = np.concatenate([centres, signs[[chosen]]])
        distance = np.minimum(distance, _hamming(signs, signs[[chosen]])[:, 0])
    label = np.full(len(signs), -1)
    for _ in range(ROUNDS):
        nearest = _hamming(signs, centres).argmin(axis=1)
        present, nearest = np.unique(nearest, return_inverse=True)
        sums = np.zeros((len(present), signs.shape[1]), np.float32)
        np.add.at(sums, nearest, signs)
        centres = np.where(sums >= 0, np.float32(1), np.float32(-1))
        if np.array_equal(label, nearest):
            break
        label = nearest
    return centres, label


def _hamming(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distances (N, M) of signs (N, 256) and (M, 256)."""
    return (a.shape[1] - a @ b.T) / 2
