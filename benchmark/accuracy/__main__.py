# SPDX-License-Identifier: Apache-2.0
"""The paper's benchmark: ``python benchmark/accuracy rooms=DIR motorcycle kitchen:seven_scenes=DIR --views 1 2 4``.

Each set is NAME=FOLDER, or LABEL:NAME=FOLDER, NAME of `manifest.yaml`; `motorcycle` needs no folder. Without any set:
motorcycle, and rooms that are rendered on the way. With `--views` the sequences are cut into groups of that many
consecutive views; without it, each is taken whole as the paper does (up to 100 views: for a GPU). Scores go to
`accuracy.json` and `accuracy.md` in the output folder.

``--novel-views --model MODEL SET=FOLDER`` scores the Gaussians of a model that has their head: every eighth image of a
sequence is rendered from those of up to twelve others.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(1, str(Path(__file__).resolve().parents[2] / "training"))

from image_scores import Lpips, find_lpips
from novel_views import NovelViews, score_novel_views
from protocol import MANIFEST, Protocol, load_protocols
from readers import read_clusters
from report import markdown, merge, merge_sources
from score import Scores, score_sequence

from da3_ros.estimation import Estimator, EstimatorConfig
from da3_ros.estimation.gaussians import NO_GAUSSIANS
from da3_ros.geometry.alignment import AlignmentError
from da3_training.data.records import Record

ROOT = Path(__file__).resolve().parents[2]


def groups(records: list[Record], views: int, most: int) -> list[list[Record]]:
    """At most `most` groups of consecutive views, spread over the sequence; all of it for views = 0."""
    if views == 0:
        return [records]
    starts = list(range(0, len(records) - views + 1, views))
    step = max(1, -(-len(starts) // most))
    return [records[start : start + views] for start in starts[::step]]


def rendered_rooms(count: int, cache: Path, wheels: Path | None, assets: str, out: Path) -> Path:
    """Held-out rooms, rendered where they are not there yet."""
    from da3_training.scenes.generate import main as generate

    arguments = ["--out", str(out), "--rooms", str(count), "--seed", "9000", "--split", "heldout", "--workers", "2"]
    arguments += ["--cache", str(cache), "--assets", assets]
    generate(arguments + (["--wheels", str(wheels)] if wheels else []))
    return out


def run_set(
    label: str, protocol: Protocol, folder: Path | None, estimator: Estimator, arguments: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Scores of one set, by label and number of views."""
    out = {}
    for views in arguments.views or [0]:
        found: list[Scores] = []
        sources: list[str] = []
        for number, (name, records) in enumerate(read_clusters(protocol, folder)):
            if number == arguments.sequences:
                break
            for group in groups(records, views, arguments.groups):
                if not any(record.valid.any() for record in group):
                    continue  # nothing is known of their depth
                found.append(
                    score_sequence(
                        estimator, group, protocol, points=arguments.points, with_matches=not arguments.no_matches
                    )
                )
                sources.append(group[0].source)
            print(f"  {label}: {name}, {len(found)} groups", flush=True)
        if found:
            rows = merge_sources(found, sources) if protocol.by_source else {"": merge(found)}
            out.update({f"{label}{source} {views or 'all'} views": row for source, row in rows.items()})
    return out


def run_novel_views(
    label: str,
    protocol: Protocol,
    folder: Path | None,
    estimator: Estimator,
    plan: NovelViews,
    lpips: Lpips | None,
    sequences: int,
) -> dict[str, dict[str, float]]:
    """Scores of the novel views of one set, by its label; what cannot be scored is said."""
    found: list[Scores] = []
    for number, (name, records) in enumerate(read_clusters(protocol, folder)):
        if number == sequences:
            break
        try:
            found.append(score_novel_views(estimator.engine, records, estimator.size, plan, lpips))
        except AlignmentError as error:
            print(f"  {label}: {name} is left out, its context tells no scale: {error}", flush=True)
        else:
            print(f"  {label}: {name}, {len(records)} views", flush=True)
    return {f"{label} novel views": merge(found)} if found else {}


def declared() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET")
    parser.add_argument("--model", default="da3-nano")
    parser.add_argument("--size", type=int, default=0, help="longest side; 0: the model's (the paper's is 504)")
    parser.add_argument("--views", type=int, nargs="*", default=None)
    parser.add_argument("--sequences", type=int, default=0, help="of each set at most; 0: all")
    parser.add_argument("--groups", type=int, default=2, help="groups of views of a sequence at most")
    parser.add_argument("--points", type=int, default=1_000_000, help="sampled on each surface")
    parser.add_argument("--no-matches", action="store_true", help="leave poses from matches out")
    parser.add_argument("--novel-views", action="store_true", help="score the model's Gaussians, and nothing else")
    parser.add_argument("--every", type=int, default=8, help="of novel views: every n-th image is held out")
    parser.add_argument("--context", type=int, default=12, help="of novel views: images that the model sees at most")
    parser.add_argument("--side", type=int, default=480, help="of novel views: longest side of compared images")
    parser.add_argument("--quick", action="store_true", help="8 rooms, 1, 2 and 4 views, 200 000 points")
    parser.add_argument("--rooms", type=int, default=24, help="rooms to render where no set is named")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "da3_training" / "scenes")
    parser.add_argument("--wheels", type=Path, default=None, help="folder with wheels of the texture packages")
    parser.add_argument("--assets", default="auto", choices=("auto", "none"))
    parser.add_argument("-o", "--output", type=Path, default=Path("accuracy_output"))
    return parser


def main() -> int:
    """Score, print and write."""
    parser = declared()
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rooms, arguments.points = 8, 200_000
        arguments.views = arguments.views or [1, 2, 4]
    protocols = load_protocols()
    begin = time.monotonic()
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.every < 2 or arguments.context < 1 or arguments.side < 11:
        parser.error("--every is 2 or more, --context 1 or more, --side 11 or more")
    wanted = arguments.sets
    if not wanted:
        arguments.views = arguments.views or [1, 2, 4]
        rooms = arguments.output / "rooms"
        rendered_rooms(arguments.rooms, arguments.cache, arguments.wheels, arguments.assets, rooms)
        wanted = [f"rooms={rooms}", "motorcycle"]
    arguments.sequences = arguments.sequences or -1
    estimator = Estimator.from_model(arguments.model, EstimatorConfig(size=arguments.size))
    plan = NovelViews(arguments.every, arguments.context, arguments.side)
    lpips: Lpips | None = None
    if arguments.novel_views:
        if not estimator.engine.info.gaussians:
            parser.error(f"--novel-views: {arguments.model}: {NO_GAUSSIANS}")
        lpips, why = find_lpips()
        print(why, end="\n" if why else "", flush=True)
    results: dict[str, dict[str, float]] = {}
    for text in wanted:
        label, _, folder = text.partition("=")
        label, _, name = label.partition(":")
        if (name or label) not in protocols:
            parser.error(f"{text}: no set is named {name or label}; known: {', '.join(protocols)}")
        path = Path(folder) if folder else None
        protocol = protocols[name or label]
        if arguments.novel_views:
            many = arguments.sequences
            results.update(run_novel_views(label, protocol, path, estimator, plan, lpips, many))
        else:
            results.update(run_set(label, protocol, path, estimator, arguments))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    about = {
        "command": f"python benchmark/accuracy {' '.join(sys.argv[1:])}",
        "model": ", ".join(f"{key} {value}" for key, value in estimator.describe().items()),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "commit": commit.stdout.strip() or "unknown",
        "minutes": f"{(time.monotonic() - begin) / 60:.1f}",
    }
    page = markdown(results, yaml.safe_load(MANIFEST.read_text()), about)
    (arguments.output / "accuracy.json").write_text(json.dumps({"about": about, "results": results}, indent=2))
    (arguments.output / "accuracy.md").write_text(page)
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
