# SPDX-License-Identifier: Apache-2.0
"""Novel views: Gaussians of some images of a posed set, rendered where the others were taken (the paper's section on
feed-forward novel view synthesis).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from image_scores import Lpips, psnr, ssim
from numpy.typing import NDArray
from protocol import align_poses
from score import Scores, camera_of, infer

from da3_ros.engines import Engine
from da3_ros.estimation.gaussians import gaussians_of
from da3_ros.estimation.views import PoseEstimate
from da3_ros.geometry import CameraModel
from da3_ros.geometry.gaussians import Gaussians
from da3_ros.geometry.harmonics import DC
from da3_ros.geometry.points import unproject_depth
from da3_ros.geometry.poses import invert, rotation_angle, transform
from da3_ros.render.config import MOST_ALPHA, RenderConfig
from da3_ros.render.renderers import choose_renderer
from da3_training.data.records import Record


@dataclass(frozen=True)
class NovelViews:
    """Which images are held out, and how they are compared."""

    every: int = 8
    """Every n-th image is a target."""
    context: int = 12
    """Images of the others that the network sees, at most."""
    side: int = 480
    """Longest side of the compared images in pixels; larger ones are made smaller first."""


def split_views(poses: NDArray[np.float64], plan: NovelViews) -> tuple[list[int], list[int]]:
    """Indices of context and targets among cameras T_world_camera (S, 4, 4).

    Targets are every n-th; of the others, those farthest apart are context, one after the other from the first on: the
    distance is that of the centres, as a share of the largest between two, and the angle between them, as a share of
    180 degrees.
    """
    targets = list(range(0, len(poses), plan.every))
    others = [i for i in range(len(poses)) if i % plan.every]
    if not others:
        return [], targets
    centres = poses[others, :3, 3]
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    apart = apart / max(float(apart.max()), 1e-12)
    turns = poses[others, :3, :3]
    apart = apart + rotation_angle(np.swapaxes(turns, 1, 2)[:, None] @ turns[None]) / np.pi
    chosen, nearest = [0], apart[0].copy()
    while len(chosen) < min(plan.context, len(others)):
        nearest[chosen] = -1
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, apart[chosen[-1]])
    return sorted(others[i] for i in chosen), targets


def context_gaussians(engine: Engine, context: Sequence[Record], size: int) -> Gaussians:
    """Gaussians of the context images, in the world and the unit of their true poses.

    The network is given the cameras where its graph takes them; the true cameras place its Gaussians, at the scale of
    its own. All are kept, those at the border and far away, too. Raises AlignmentError where the cameras tell no scale:
    fewer than three, or on a line.
    """
    raw, windows = infer(engine, context, size, posed=engine.info.takes_poses)
    truth = np.stack([record.pose for record in context])
    scale = align_poses(invert(np.asarray(raw.extrinsics, np.float64)), truth).scale
    poses = [PoseEstimate(pose, "calibrated", np.zeros((6, 6))) for pose in truth]
    return gaussians_of(raw, [(int(h), int(w)) for h, w in windows], poses, scale, border=0.0, nearest=1.0)


def measured_gaussians(records: Sequence[Record]) -> Gaussians | None:
    """Gaussians of images with true depth: one a pixel that has it, round, of the pixel's colour, half the pixel's side
    at its depth for a standard deviation, and as opaque as any is drawn. None without depth.

    What they show of other views is about the most that one Gaussian a pixel can, whatever network predicts them.
    """
    parts = []
    for record in records:
        points = unproject_depth(record.depth, record.intrinsics)[record.valid]
        side = record.depth[record.valid] / np.sqrt(record.intrinsics[0, 0] * record.intrinsics[1, 1])
        colours = record.image[record.valid] / np.float32(255)
        parts.append((transform(record.pose, points), 0.5 * side, (colours - 0.5) / DC))
    means, sizes, colours = (np.concatenate(part).astype(np.float32) for part in zip(*parts, strict=True))
    if not len(means):
        return None
    still = np.tile(np.array([1, 0, 0, 0], np.float32), (len(means), 1))
    opacities = np.full(len(means), MOST_ALPHA, np.float32)
    return Gaussians(means, np.repeat(sizes[:, None], 3, axis=1), still, colours[..., None], opacities)


def novel_view_scores(
    gaussians: Gaussians, context: Sequence[Record], targets: Sequence[Record], plan: NovelViews, lpips: Lpips | None
) -> Scores:
    """PSNR, SSIM and LPIPS of each target: rendered, and of the context image whose camera is nearest to it; and, where
    the context has true depth, rendered from that.
    """
    render, _ = choose_renderer("auto", gaussians, RenderConfig())
    measured = measured_gaussians(context)
    render_measured = None if measured is None else choose_renderer("auto", measured, RenderConfig())[0]
    out: Scores = {"covered": [], "context": [float(len(context))], "targets": [float(len(targets))]}
    for target in targets:
        truth, camera = _made_small(target, plan.side)
        seen = render(camera, target.pose)
        out["covered"].append(float(seen.alpha.mean()))
        gaps = [np.linalg.norm(record.pose[:3, 3] - target.pose[:3, 3]) for record in context]
        beside = cv2.resize(context[int(np.argmin(gaps))].image, truth.shape[1::-1], interpolation=cv2.INTER_AREA)
        images = {"rendered": np.clip(seen.colour, 0, 1), "nearest": beside / np.float32(255)}
        if render_measured is not None:
            images["measured"] = np.clip(render_measured(camera, target.pose).colour, 0, 1)
        for way, image in images.items():
            out.setdefault(f"psnr_{way}", []).append(psnr(image, truth))
            out.setdefault(f"ssim_{way}", []).append(ssim(image, truth))
            if lpips is not None:
                out.setdefault(f"lpips_{way}", []).append(lpips(image, truth))
    return out


def score_novel_views(
    engine: Engine, records: Sequence[Record], size: int, plan: NovelViews, lpips: Lpips | None
) -> Scores:
    """Scores of one sequence. Raises AlignmentError as `context_gaussians`."""
    context, targets = ([records[i] for i in part] for part in split_views(np.stack([r.pose for r in records]), plan))
    gaussians = context_gaussians(engine, context, size)
    return novel_view_scores(gaussians, context, targets, plan, lpips)


def _made_small(record: Record, side: int) -> tuple[NDArray[np.float32], CameraModel]:
    """The image (h, w, 3), 0 to 1, and its camera, no side longer than `side`."""
    height, width = record.image.shape[:2]
    factor = min(1.0, side / max(height, width))
    w, h = max(1, round(width * factor)), max(1, round(height * factor))
    image = cv2.resize(record.image, (w, h), interpolation=cv2.INTER_AREA)
    return (image / np.float32(255)).astype(np.float32), camera_of(record).scaled(w, h)
