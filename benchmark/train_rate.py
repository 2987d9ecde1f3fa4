# SPDX-License-Identifier: Apache-2.0
"""What limits training on one GPU: images that processor cores supply, and images that a GPU could eat.

    python benchmark/train_rate.py --packs FOLDER [--photos FOLDER] [--json FILE] [key=value ...]

Every part is measured here on one core, by processor time; without packs, on shapes and patterns alone. What a GPU does
in place of software is taken out: OpenGL by a device that does nothing and answers with views that software drew
before. What its driver takes instead is assumed (`--gpu-draw-ms`). Settings are those of the rented machine
(training/rented_gpu/nano.yaml), or of `--config`. Needs EGL, for the views.

The default of 2 ms for a drawn view: a room has about 100 000 triangles and is lit by four lights at 336 x 448 samples,
which an idle GPU draws in well under a millisecond; a read that waits costs some tenths of one; the views of a sample
are queued together; a room's 15 MB of textures and vertices are some milliseconds, over a hundred images. The rest is
for the GPU being shared with the network, whose work is not interrupted at once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "training"))
os.environ.setdefault("LP_NUM_THREADS", "1")  # before a renderer is made: one core is measured

import cv2
import torch
from train_rate_demand import cost_of_looks, cost_of_step
from train_rate_sums import Assumed, Demand, Supply, Timing, images_a_room, verdict
from train_rate_supply import PHOTO, time_photos, time_rooms, time_walk, write_photos

from da3_training.cli.train import parse_overrides
from da3_training.config import TrainConfig, load_config
from da3_training.scenes.assets import Library
from da3_training.scenes.sources import CACHE, open_assets
from da3_training.scenes.textures import TextureBank
from da3_training.shards.local import LocalShards

CONFIG = Path(__file__).resolve().parents[1] / "training" / "rented_gpu" / "nano.yaml"


def main(arguments: list[str] | None = None) -> int:
    """Print the table and the verdict; exit code 1 where the wanted rate is not supplied."""
    options = _options(arguments)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    config = load_config(options.config, parse_overrides(options.overrides))
    assumed = Assumed(**{name: getattr(options, name) for name in Assumed.__dataclass_fields__})
    found = measure(config, options)
    supply, demand = found["supply"], found["demand"]
    lines = verdict(supply, demand, assumed)
    print("\n".join([*found["about"], "", *_table(found["rows"]), "", *(f"* {line}" for line in lines)]))
    if options.json:
        rates = {
            "supplied": supply.rate(assumed),
            "longest_draw_ms": supply.longest_draw_ms(assumed),
            "eaten": demand.rate(assumed, assumed.utilisation),
            "eaten_at_best": demand.rate(assumed, 1.0),
            "eaten_by_memory": demand.memory_rate(assumed),
        }
        content = {
            "about": found["about"],
            "assumed": asdict(assumed),
            "rows": [{"part": name, **asdict(timing), "note": note} for name, timing, note in found["rows"]],
            "supply": asdict(supply),
            "demand": asdict(demand),
            "images_a_second": rates,
            "verdict": lines,
        }
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    return 0 if supply.rate(assumed) >= assumed.target else 1


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="key=value of the configuration")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--packs", type=Path, help="folder of packs (da3-train pack-scenes); default: no assets")
    parser.add_argument("--photos", type=Path, help="folder of shards; default: made-up photographs")
    parser.add_argument(
        "--rooms", type=int, default=6, help="rooms that are drawn by software, and four times as many built"
    )
    parser.add_argument("--steps", type=int, default=2, help="steps of the network in each pass, of about 6 images")
    parser.add_argument("--repeat", type=int, default=5, help="passes of each part; the median counts")
    parser.add_argument("--json", type=Path, help="file for the figures")
    for name, default in asdict(Assumed()).items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=type(default), default=default, help=f"default {default}"
        )
    options = parser.parse_intermixed_args(arguments)  # settings before and after options
    for name in ("rooms", "steps", "repeat"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} is {getattr(options, name)}: give 1 or more")
    return options


def measure(config: TrainConfig, options: argparse.Namespace) -> dict[str, Any]:
    """All parts: `rows` of the table (name, timing of an image, note), `supply`, `demand`, and `about` the run."""
    cache = Path(config.studio.cache) if config.studio.cache else CACHE

    def assets() -> tuple[Library, TextureBank]:
        return open_assets("train", cache, assets=options.packs is not None, packs=options.packs)

    load = os.getloadavg()[0]
    rooms = time_rooms(assets, config, 4 * options.rooms, options.repeat)
    walk = time_walk(assets, config, options.rooms, options.repeat, rooms.textures)
    looks = cost_of_looks(walk.kept[:: max(1, len(walk.kept) // 16)], options.repeat)
    with tempfile.TemporaryDirectory() as folder:
        shards = LocalShards(options.photos) if options.photos else write_photos(Path(folder), 32, 8)
        photos = time_photos(shards, config, 8, options.repeat)
    step = cost_of_step(config, options.steps, options.repeat)
    share = images_a_room(config)
    supply = Supply(rooms.room, rooms.textures, walk.cameras, share, walk.drawn, walk.rooms)
    demand = Demand(step.image.flops, step.image.bytes, looks.bytes)
    batch = config.stages[-1].samples.views_per_batch
    photo = "of --photos" if options.photos else f"made up, {PHOTO[1]} x {PHOTO[0]}"
    rows: list[tuple[str, Timing, str]] = [
        (
            "a room",
            rooms.room.over(share),
            f"{rooms.room.ms:.0f} ms a room of {rooms.triangles:.0f} triangles, over {share:.0f} images",
        ),
        (
            "its textures and vertices as bytes",
            rooms.textures.over(share),
            f"{rooms.textures.ms:.0f} ms a room of {rooms.layers:.0f} textures; {rooms.cold:.0f} ms for the first",
        ),
        (
            "cameras, judging depth, marks, the copy",
            walk.cameras,
            f"{walk.drawn:.2f} views drawn for each kept, {walk.rooms:.2f} rooms built for each due",
        ),
        ("drawing by software", Timing(walk.drawing, 0.0), f"{walk.renderer}; a GPU does it in its place"),
        ("all of a studio's worker by software", Timing(walk.software, 0.0), f"one pass over {walk.images} images"),
        ("photographs: read, decode, cut out", photos, f"{photo}; in place of the parts of a room"),
        (
            "looks and exposure",
            looks.time,
            f"a GPU does it in batches; {looks.bytes / 1e6:.0f} MB read and written",
        ),
        (
            "the step: forward and backward",
            step.image.time,
            f"{step.image.flops / 1e9:.1f} GFLOP, {step.image.bytes / 1e6:.0f} MB read and written (float32); "
            f"{step.trained / 1e6:.1f} of {step.parameters / 1e6:.1f} million parameters are trained",
        ),
        ("the step: clipping, optimiser, average", step.optimiser.over(batch), f"of a step of {batch} images"),
    ]
    studio, assets_are = config.studio, options.packs.name if options.packs else "none, shapes and patterns alone"
    about = [
        f"{_processor()}, one core of {os.cpu_count()}, float32; load {load:.1f} at the start and "
        f"{os.getloadavg()[0]:.1f} at the end, of which this was 1.",
        f"Assets: {assets_are}. {config.preset}, batches of {batch}, {studio.lanes} lanes, {studio.steps_per_room} "
        f"steps a room, textures of {studio.texture_size}; median of {options.repeat} passes.",
    ]
    return {"rows": rows, "supply": supply, "demand": demand, "about": about}


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown processor")


def _table(rows: list[tuple[str, Timing, str]]) -> list[str]:
    lines = ["| part | ms an image | spread | images/s of a core | |", "|---|---|---|---|---|"]
    for name, timing, note in rows:
        spread = f"{timing.spread:.0%}" if timing.spread else ""
        lines.append(f"| {name} | {_figure(timing.ms)} | {spread} | {_figure(timing.per_core)} | {note} |")
    return lines


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
