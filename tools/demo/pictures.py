# SPDX-License-Identifier: Apache-2.0
"""Pictures of a run: input | network alone | refined depth | confidence for every camera, and the fused cloud seen from
behind and above.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from alone import Depths
from numpy.typing import NDArray
from scenarios import Scenario
from score import Outputs

from da3_ros.visual import confidence_to_color, depth_to_color

CELL = (360, 270)
"""Width and height of one picture on the sheet."""


def write(scenario: Scenario, out: Outputs, alone: Depths, folder: Path) -> list[Path]:
    """Write ``sheet.png`` of the middle frame; returns the paths (none when nothing was received)."""
    rig = scenario.load()
    complete = [i for i, views in out.depth.items() if len(views) == len(rig.cameras) and i in out.clouds]
    if not complete:
        return []
    frame = sorted(complete)[len(complete) // 2]
    finite = np.concatenate([d[np.isfinite(d)] for d in out.depth[frame].values()])
    near, far = (float(x) for x in np.percentile(finite, (2, 98)))
    rows = []
    for name in rig.cameras:
        depth, confidence = out.depth[frame][name], out.confidence[frame][name]
        cells = [
            _cell(rig.frames[frame][name], f"{name}: input"),
            _cell(depth_to_color(alone[frame][name], near, far), "network alone"),
            _cell(depth_to_color(depth, near, far), f"refined, {near:.1f} to {far:.1f} m"),
            _cell(confidence_to_color(confidence), "confidence"),
        ]
        rows.append(np.hstack(cells))
    sheet = np.vstack(rows)
    cloud = cv2.resize(_cloud_view(out, frame), (sheet.shape[1], sheet.shape[1] * 9 // 16))
    cv2.putText(
        cloud,
        "cloud of all cameras, from behind and above",
        (8, 24),
        cv2.FONT_HERSHEY_SIMPLEX,
        0.7,
        (0, 0, 0),
        2,
    )
    path = folder / "sheet.png"
    cv2.imwrite(str(path), cv2.cvtColor(np.vstack([sheet, cloud]), cv2.COLOR_RGB2BGR))
    return [path]


def _cell(image: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    width, height = CELL
    scale = min(width / image.shape[1], height / image.shape[0])
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    cell = np.full((height, width, 3), 255, np.uint8)
    cell[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    cell[:26, : 12 + 9 * len(text)] = 0
    cv2.putText(cell, text, (6, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1)
    return cell


def _cloud_view(out: Outputs, frame: int, width: int = 1080, height: int = 608) -> NDArray[np.uint8]:
    """Render the fused cloud of a frame with a camera 1.5 m behind and 1.2 m above the robot (x forward, z up).

    The focal length is such that the cloud fills the picture.
    """
    cloud = out.clouds[frame]
    points = np.stack([cloud[axis].ravel() for axis in "xyz"], axis=1).astype(np.float64)
    colour = cloud["rgb"].reshape(-1, 3)
    pitch = np.radians(22)
    shifted = points - [-1.5, 0.0, 1.7]
    forward, up = np.array([np.cos(pitch), 0, -np.sin(pitch)]), np.array([np.sin(pitch), 0, np.cos(pitch)])
    z = shifted @ forward
    front = np.isfinite(points).all(axis=1) & (z > 0.3)
    z, colour = z[front], colour[front]
    a, b = -shifted[front, 1] / z, -(shifted[front] @ up) / z
    (a0, a1), (b0, b1) = np.percentile(a, (1, 99)), np.percentile(b, (1, 99))
    focal = 0.95 * min(width / max(a1 - a0, 0.1), height / max(b1 - b0, 0.1))
    u = (focal * (a - (a0 + a1) / 2) + width / 2).astype(int)
    v = (focal * (b - (b0 + b1) / 2) + height / 2).astype(int)
    size = np.clip(focal * 0.022 / z, 1, 8).astype(int)
    image = np.full((height, width, 3), 245, np.uint8)
    order = np.argsort(-z)
    for dv in range(8):
        for du in range(8):
            keep = order[(size[order] > du) & (size[order] > dv)]
            rows, columns = v[keep] + dv, u[keep] + du
            inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
            image[rows[inside], columns[inside]] = colour[keep][inside]
    return image
