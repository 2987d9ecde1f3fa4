# SPDX-License-Identifier: Apache-2.0
"""Does a teacher's label beat a sensor's depth? Teacher -> label -> student on rendered rooms (paper section 3.2).

``python benchmark/train_teacher_student.py`` renders rooms with procedural textures, spoils the depth of some of them
as a cheap sensor would (sparse, noisy, quantised, with gross errors), and trains

1. a teacher on rooms with exact depth,
2. a student on the spoiled depth as it is,
3. the same student, with the same seed, on the teacher's labels aligned to the spoiled depth by RANSAC.

With ``--teacher CHECKPOINT --folder ROOMS`` a teacher that exists labels rooms that exist, which spares the first step.
Both students are scored on other rooms with exact depth, after one median scale for each set of views. All that is
trained starts from the backbone of `models/da3-nano`, with heads of random weights.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))

from da3_ros.network import PRESETS, Preset, load_checkpoint
from da3_ros.network.presets import SINGLE_VIEW
from da3_training.config import DataConfig, LossConfig, OptimiserConfig, RuntimeConfig, Stage, TrainConfig
from da3_training.data.samples import SampleConfig
from da3_training.data.stored_labels import label_path, read_label
from da3_training.datasets.registry import SceneSet
from da3_training.evaluate import evaluate, view_groups
from da3_training.labels import LabelConfig, write_labels
from da3_training.run.trainer import train

ROOT = Path(__file__).resolve().parents[1]
SIZE = (84, 112)
STUDENT = dataclasses.replace(PRESETS["da3-nano"], name="experiment-student")
TEACHER = Preset(
    "experiment-teacher", 384, 8, 6, (3, 5, 6, 7), SINGLE_VIEW, 48, (32, 64, 128, 192), normalise_qk=False, rope=False
)


@dataclasses.dataclass(frozen=True)
class Sensor:
    """What is wrong with the depth of the "real" rooms."""

    kept: float = 0.03
    """Share of pixels that are measured at all."""
    holes: float = 0.3
    """Share of the image in patches without any measurement."""
    outliers: float = 0.3
    """Share of the measurements that are grossly wrong, most of them too near (as with multiple reflections)."""
    noise: float = 0.05
    """Standard deviation of the others, relative to their depth."""
    step: float = 0.02
    """Resolution of inverse depth, 1/m: half a metre at five metres (as stereo matching has it)."""

    def spoil(self, depth: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """Measured depth (H, W) in metres of the true one, 0 where there is none."""
        h, w = depth.shape
        known = (depth > 0) & (rng.random(depth.shape) < self.kept)
        blobs = cv2.resize(rng.random((6, 8)).astype(np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
        known &= blobs > np.quantile(blobs, self.holes)
        measured = depth * (1 + self.noise * rng.standard_normal(depth.shape))
        near = measured * rng.uniform(0.3, 0.8, depth.shape)
        anywhere = rng.uniform(0.3, 8.0, depth.shape)
        wrong = rng.random(depth.shape)
        measured = np.where(wrong < 0.7 * self.outliers, near, measured)
        measured = np.where((wrong >= 0.7 * self.outliers) & (wrong < self.outliers), anywhere, measured)
        inverse = np.maximum(np.rint(1 / np.maximum(measured, 0.1) / self.step), 1) * self.step
        return np.where(known, 1 / inverse, 0).astype(np.float32)


def render(folder: Path, name: str, rooms: int, seed: int) -> SceneSet:
    """Rooms of one cluster of four views."""
    from da3_training.scenes.generate import Studio
    from da3_training.scenes.sources import open_assets

    studio = Studio(*open_assets("train", folder / "cache", assets=False), "train")
    for index in range(rooms):
        studio.room(folder / name / f"room_{index:03d}", seed=seed, index=index, clusters=1, views=4)
    return SceneSet("rooms", folder / name)


def split(rooms: Path, folder: Path) -> tuple[SceneSet, SceneSet]:
    """Two thirds of the rooms of a folder and the rest, by links."""
    found = sorted(path.parent.resolve() for path in rooms.glob("*/scene.json"))
    for number, room in enumerate(found):
        link = folder / ("heldout" if number % 3 == 2 else "clean") / room.name
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(room)
    return SceneSet("rooms", folder / "clean"), SceneSet("rooms", folder / "heldout")


def spoil(clean: SceneSet, folder: Path, sensor: Sensor) -> SceneSet:
    """A copy of rooms with the sensor's depth."""
    for index in range(len(clean)):
        target = folder / clean.name(index)
        target.mkdir(parents=True)
        rng = np.random.default_rng(index)
        for cluster in clean[index]:
            for view in cluster.views:
                (target / view.image_path.name).write_bytes(view.image_path.read_bytes())
                depth = sensor.spoil(view.load().depth, rng)
                cv2.imwrite(str(target / view.depth_path.name), np.rint(depth * 1000).clip(0, 65534).astype(np.uint16))
        scene = json.loads((clean.folders[index] / "scene.json").read_text())
        (target / "scene.json").write_text(json.dumps({**scene, "source": "spoiled", "sky_is_zero": False}))
    return SceneSet("rooms", folder)


def errors_of_depth(clean: SceneSet, spoiled: SceneSet, labels: Path) -> tuple[float, float]:
    """AbsRel against the truth, in metres without any fitting, of the sensor's depth and of the labels."""
    raw, taught = [], []
    for index in range(len(clean)):
        views = [
            (a, b)
            for c, d in zip(clean[index], spoiled[index], strict=True)
            for a, b in zip(c.views, d.views, strict=True)
        ]
        for a, b in views:
            truth, measured = a.load(), b.load()
            known = measured.valid & truth.valid
            raw.append(np.abs(measured.depth[known] / truth.depth[known] - 1))
            path = label_path(labels, b.key)
            if path.is_file():
                label = read_label(path, truth.depth.shape)
                known = (label > 0) & truth.valid
                taught.append(np.abs(label[known] / truth.depth[known] - 1))
    return float(np.concatenate(raw).mean()), float(np.concatenate(taught).mean())


def run(task: str, preset: str, root: Path, output: Path, steps: int, seed: int, labels: str = "") -> Path:
    """Train; returns the checkpoint folder."""
    counts = (1,) if task == "teacher" else (1, 2)
    samples = SampleConfig(views_per_batch=8, view_counts=counts, sizes=(SIZE,), pose_probability=0.0)
    config = TrainConfig(
        task=task,
        preset=preset,
        data=(DataConfig("rooms", str(root), labels=labels),),
        output=str(output),
        encoder=str(ROOT / "models" / "da3-nano"),
        frozen_blocks=6,
        steps=steps,
        labels_from=0 if labels else -1,
        stages=(Stage(1.0, samples),),
        optimiser=OptimiserConfig(learning_rate=1e-3, backbone_learning_rate=1e-4, warmup=20, ema=0.98),
        loss=LossConfig(depth_space="log"),
        runtime=RuntimeConfig(
            threads=torch.get_num_threads(), workers=0, picture_steps=0, seed=seed, accelerator="cpu"
        ),
    )
    return train(config)


def scores(checkpoint: Path, heldout: SceneSet) -> str:
    """AbsRel and delta1 for 1 and 2 views, as text."""
    return _text(checkpoint, heldout, "")


def main() -> int:
    """Print the table; the exit status says whether labels won at one view."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rooms", type=int, nargs=3, default=[40, 20, 12], metavar=("TEACHER", "REAL", "HELDOUT"))
    parser.add_argument("--steps", type=int, nargs=2, default=[240, 120], metavar=("TEACHER", "STUDENT"))
    parser.add_argument("--seeds", type=int, default=1, help="students of each kind")
    parser.add_argument("--kept", type=float, default=Sensor.kept, help="share of pixels that the sensor measures")
    parser.add_argument("--teacher", default="", help="checkpoint to label with, instead of training a teacher")
    parser.add_argument(
        "--folder", type=Path, help="rooms to use: two thirds real, one third held out (with --teacher)"
    )
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if (options.folder is not None) != bool(options.teacher):
        parser.error("--folder and --teacher go together: a teacher that has not seen these rooms")
    torch.set_num_threads(options.threads)
    PRESETS.update({preset.name: preset for preset in (STUDENT, TEACHER)})
    start = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - start:5.0f} s] {text}", flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.folder is None:
            synthetic, clean, heldout = (
                render(folder, kind, count, seed)
                for seed, (kind, count) in enumerate(zip(("synthetic", "clean", "heldout"), options.rooms, strict=True))
            )
        else:
            clean, heldout = split(options.folder, folder)
        spoiled = spoil(clean, folder / "real", Sensor(kept=options.kept))
        say(f"{len(clean)} rooms with a poor sensor, {len(heldout)} held out")
        teacher = Path(options.teacher or "")
        if not options.teacher:
            teacher = run("teacher", TEACHER.name, synthetic.root, folder / "teacher", options.steps[0], 0)
        labels = folder / "labels"
        kept = write_labels(load_checkpoint(teacher), spoiled, labels, LabelConfig(size=SIZE))
        raw, taught = errors_of_depth(clean, spoiled, labels)
        say(f"labels: {kept}; AbsRel in metres of the sensor's depth {raw:.3f}, of the labels {taught:.3f}")
        print(f"{'student on':<22} {'1 view':>15} {'2 views':>15}   (AbsRel / delta1 on held-out rooms)")
        found: dict[str, list[float]] = {"sensor depth": [], "aligned labels": []}
        for seed in range(options.seeds):
            for kind, used in (("sensor depth", ""), ("aligned labels", str(labels))):
                output = folder / f"{kind} {seed}"
                checkpoint = run("any_view", STUDENT.name, spoiled.root, output, options.steps[1], seed, used)
                text = scores(checkpoint, heldout)
                found[kind].append(float(text.split(" ")[0]))
                print(f"{kind + f', seed {seed}':<22} {text}", flush=True)
        print(f"{'(the teacher itself)':<22} {scores(teacher, heldout)}")
        print(f"{'(constant depth)':<22} {_text(teacher, heldout, 'constant_')}")
    won = np.mean(found["aligned labels"]) < np.mean(found["sensor depth"])
    say(f"the student on aligned labels {'beats' if won else 'does not beat'} the one on the sensor's depth")
    return 0 if won else 1


def _text(checkpoint: Path, heldout: SceneSet, guess: str) -> str:
    model = load_checkpoint(checkpoint)
    found = [evaluate(model, view_groups(heldout, views, SIZE)) for views in (1, 2)]
    return "   ".join(f"{f[guess + 'absrel']:.3f} / {f[guess + 'delta1']:.3f}" for f in found)


if __name__ == "__main__":
    sys.exit(main())
