# SPDX-License-Identifier: Apache-2.0
"""Can the whole path from images to losses to weights learn anything exactly? One sample of several views, by heart.

``python benchmark/train_overfit.py`` renders one room, trains on three views of it and prints depth AbsRel (after one
median scale) and the largest rotation error of the camera head. Bars: AbsRel below 0.02, rotation below 0.5 degrees.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))

from da3_ros.geometry.metrics import depth_errors, median_scale
from da3_ros.geometry.poses import invert, relative_to_first, rotation_angle
from da3_ros.network import PRESETS, Preset, create_model
from da3_training.config import LossConfig, OptimiserConfig, TrainConfig
from da3_training.data.batch import Batch
from da3_training.data.develop import develop
from da3_training.data.samples import SampleConfig, Sampler
from da3_training.datasets.registry import SceneSet
from da3_training.run.initial import initialise
from da3_training.run.networks import trainable
from da3_training.run.optimiser import make_optimiser, rate_factor
from da3_training.run.tasks import Learner

SMALL = Preset(
    "overfit", 192, 8, 6, (3, 5, 6, 7), 4, 64, (48, 96, 96, 96), normalise_qk=True, rope=True, camera_encoder_depth=1
)
"""As da3-large in shape, small enough for a minute on a processor core; starts from random weights."""
DEPTH_BAR, ROTATION_BAR = 0.02, 0.5


@dataclass(frozen=True)
class Score:
    """How well the sample is known."""

    absrel: float
    rotation_deg: float
    """The largest of all views after the first."""
    direction_deg: float
    """Largest error of the direction of translation."""


def sample(folder: Path, views: int, size: tuple[int, int], seed: int) -> Batch:
    """One scene of `views` views, rendered with procedural textures."""
    from da3_training.scenes.generate import Studio
    from da3_training.scenes.sources import open_assets

    studio = Studio(*open_assets("train", folder / "cache", assets=False), "train")
    studio.room(folder / "rooms" / "room", seed=seed, index=0, clusters=1, views=views, kind="room")
    samples = SampleConfig(
        views_per_batch=views, view_counts=(views,), sizes=(size,), pose_probability=0.0, augment=False
    )
    return develop(Sampler([SceneSet("rooms", folder / "rooms")], samples, seed)[0])


def score(learner: Learner, batch: Batch) -> Score:
    """Depth after one median scale for all views, poses relative to the first view."""
    learner.eval()
    with torch.no_grad():
        out = learner.model(batch.images, reference="first")
    learner.train()
    depth, truth, valid = (x[0].double().numpy() for x in (out["depth"], batch.depth, batch.valid))
    absrel = depth_errors(depth * median_scale(depth, truth, valid > 0), truth, valid > 0)[0]
    ours = relative_to_first(invert(out["extrinsics"][0].double().numpy()))
    true = relative_to_first(batch.pose[0].double().numpy())
    turn = np.degrees(rotation_angle(ours[1:, :3, :3].transpose(0, 2, 1) @ true[1:, :3, :3]))
    a, b = ours[1:, :3, 3], true[1:, :3, 3]
    cosine = (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)).clip(1e-9)
    return Score(float(absrel), float(turn.max()), float(np.degrees(np.arccos(cosine.clip(-1, 1))).max()))


def overfit(batch: Batch, steps: int, every: int, seed: int = 0) -> Score:
    """Train on `batch` alone, printing scores; returns the last one."""
    PRESETS[SMALL.name] = SMALL
    torch.manual_seed(seed)
    optimiser_config = OptimiserConfig(
        learning_rate=2e-3, backbone_learning_rate=1e-3, weight_decay=0.0, warmup=30, floor=0.0
    )
    config = TrainConfig(
        preset=SMALL.name,
        encoder="none",
        frozen_blocks=0,
        steps=steps,
        optimiser=optimiser_config,
        # At the usual 0.2 the confidence would let go of the pixels at edges, as it should with data that may be wrong.
        loss=LossConfig(depth_space="log", camera=5.0, lambda_c=0.01),
    )
    model = trainable(create_model(config.preset))
    initialise(model, config)
    learner = Learner(model, config)
    optimiser = make_optimiser(learner, SMALL.depth, config.optimiser)
    start = time.monotonic()
    print(f"{'step':>6} {'AbsRel':>8} {'rotation':>9} {'direction':>10} {'seconds':>8}")
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = group["base"] * rate_factor(step, step / steps, config.optimiser)
        result = learner(batch)
        optimiser.zero_grad(set_to_none=True)
        result.loss.backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters(), config.optimiser.clip)
        optimiser.step()
        if (step + 1) % every == 0 or step + 1 == steps:
            now = score(learner, batch)
            seconds = time.monotonic() - start
            print(
                f"{step + 1:>6} {now.absrel:>8.4f} {now.rotation_deg:>9.3f} {now.direction_deg:>10.2f} {seconds:>8.0f}",
                flush=True,
            )
    return now


def main() -> int:
    """Print the curve and whether both bars are met; the exit status says the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=3)
    parser.add_argument("--size", type=int, nargs=2, default=[56, 84], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        batch = sample(Path(folder), options.views, (options.size[0], options.size[1]), options.seed)
        last = overfit(batch, options.steps, max(1, options.steps // 10), options.seed)
    good = last.absrel < DEPTH_BAR and last.rotation_deg < ROTATION_BAR
    print(
        f"depth AbsRel {last.absrel:.4f} (bar {DEPTH_BAR}), rotation {last.rotation_deg:.3f} degrees "
        f"(bar {ROTATION_BAR}): {'both met' if good else 'not met'}"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
