# SPDX-License-Identifier: Apache-2.0
"""Scenes of a data set as lists of records: the adapters of the training companion, and those it has no use for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from protocol import Protocol, choose_frames

from da3_training.data.records import Cluster, Record, ViewRecord
from da3_training.datasets.frames import inverse
from da3_training.datasets.motorcycle import motorcycle_records
from da3_training.datasets.registry import DATASETS, SceneSet


def read_clusters(protocol: Protocol, root: Path | None) -> Iterator[tuple[str, list[Record]]]:
    """Name and views of each sequence that the protocol scores, its frames chosen already.

    Raises FileNotFoundError where `root` does not hold the set, in the words of its adapter.
    """
    if protocol.adapter == "motorcycle":
        yield "motorcycle", motorcycle_records()
        return
    if root is None:
        raise FileNotFoundError(f"{protocol.name}: name its folder")
    if protocol.adapter in DATASETS:
        scenes = SceneSet(protocol.adapter, root)
        found = ((scenes.name(i), cluster) for i in range(len(scenes)) for cluster in scenes[i])
    elif protocol.adapter == "hiroom":
        found = ((name, cluster) for name, cluster in _hiroom(root))
    else:
        found = ((name, cluster) for name, cluster in _mono_folders(root))
    for number, (name, cluster) in enumerate(found):
        if protocol.scenes and not any(part in protocol.scenes for part in name.split("/")):
            continue
        skipped = {n for scene, numbers in protocol.excluded.items() if scene in name.split("/") for n in numbers}
        views = [view for view in cluster.views if _number(view.image_path) not in skipped]
        chosen = [views[i].load() for i in choose_frames(len(views), protocol)]
        if chosen:
            yield f"{name}#{number}", chosen


def _number(path: Path) -> int:
    digits = re.findall(r"\d+", path.stem)
    return int(digits[-1]) if digits else -1


def _hiroom(root: Path) -> Iterator[tuple[str, Cluster]]:
    """HiRoom: <scene>/{image/*, depth/*.png (65535 = 100 m), pose/*.npy (T_camera_world), cam_K.npy}."""
    folders = sorted(path.parent for path in root.rglob("cam_K.npy"))
    if not folders:
        raise FileNotFoundError(f"{root} holds no scene of hiroom: expected <scene>/{{image,depth,pose}}, cam_K.npy")
    for folder in folders:
        k = np.load(folder / "cam_K.npy").astype(np.float64)[:3, :3]
        views = []
        for image in sorted((folder / "image").iterdir()):
            depth, pose = folder / "depth" / f"{image.stem}.png", folder / "pose" / f"{image.stem}.npy"
            if depth.is_file() and pose.is_file():
                T_camera_world = np.eye(4)
                T_camera_world[:3] = np.load(pose)[:3]
                views.append(ViewRecord(image, depth, k, inverse(T_camera_world), factor=100 / 65.535, source="hiroom"))
        yield folder.relative_to(root).as_posix(), Cluster("room", tuple(views))


def _mono_folders(root: Path) -> Iterator[tuple[str, Cluster]]:
    """Single images: <root>/image/NAME.{png,jpg} and <root>/depth/NAME.{npy,png}, as most evaluations prepare NYU,
    KITTI, Sintel and DIODE. Depth in metres (npy) or 1/256 m (16-bit png, KITTI's), 0 unknown.
    """
    images = sorted((root / "image").glob("*")) if (root / "image").is_dir() else []
    if not images:
        raise FileNotFoundError(f"{root} holds no single images: expected image/NAME.png and depth/NAME.npy or .png")
    for image in images:
        array, png = root / "depth" / f"{image.stem}.npy", root / "depth" / f"{image.stem}.png"
        pixels = cv2.imread(str(image))
        if pixels is None:
            raise ValueError(f"{image} is no readable image")
        h, w = pixels.shape[:2]
        k = np.array([[w, 0, w / 2], [0, w, h / 2], [0, 0, 1.0]])
        if array.is_file():
            view = ViewRecord(image, array, k, np.eye(4), codec="npy", source=root.name)
        elif png.is_file():
            view = ViewRecord(image, png, k, np.eye(4), factor=1000 / 256, source=root.name)
        else:
            continue
        yield image.stem, Cluster("single", (view,))
