# SPDX-License-Identifier: Apache-2.0
"""``da3 bag``: every frame of a recording gets its geometry, without ROS."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

NAME = "bag"
HELP = "reprocess a recording (a bag, a video, pictures): depth, confidence, clouds and poses of every frame"
FAILED, LOST = 1, 3
_ERROR = 2
"""Level of an issue."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "input",
        type=Path,
        help="a bag (folder with metadata.yaml; .mcap, .db3, ROS 1 .bag); a video; a folder of pictures, or of folders "
        "of them, one a camera; a COLMAP project; a folder of EuRoC (ASL), KITTI or TUM RGB-D",
    )
    parser.add_argument(
        "output",
        type=Path,
        nargs="?",
        help="a folder (a split bag), or a file ending in .mcap or .db3; never the input",
    )
    add_options(parser)
    parser.add_argument("--dry-run", action="store_true", help="show cameras, topics and outputs, and end")
    parser.add_argument("--restart", action="store_true", help="forget an unfinished or finished run and begin anew")
    parser.add_argument("--overwrite", action="store_true", help="replace an output that exists")
    parser.add_argument("--quiet", action="store_true", help="no table and no progress")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options that say what is made of a bag; `da3 fleet` has them, too."""
    from da3_ros.bag.plan.options import DEFAULT_OUTPUTS, Options

    default = Options()
    add_reading(parser)
    parser.add_argument("--params", type=Path, help="parameter file of the live node")
    parser.add_argument(
        "-p", "--set", action="append", default=[], metavar="NAME:=VALUE", help="a parameter; wins over the file"
    )
    parser.add_argument("--model", help="name or folder of the model; wins over the file")
    parser.add_argument("--cameras", nargs="+", default=[], help="cameras to use, the first one triggers")
    parser.add_argument(
        "--outputs",
        nargs="+",
        default=list(DEFAULT_OUTPUTS),
        metavar="PATTERN",
        help=f"topics to make, below /da3; a leading ! takes out (default: {' '.join(DEFAULT_OUTPUTS)})",
    )
    parser.add_argument(
        "--copy",
        nargs="+",
        default=["none"],
        metavar="PATTERN",
        help="topics to copy byte for byte: all, none, or patterns; transforms always are",
    )
    parser.add_argument("--storage", help="mcap (default) or sqlite3; a name ending in .mcap or .db3 says it as well")
    parser.add_argument("--compress", action="store_true", help="compress the output with zstd")
    parser.add_argument(
        "--segment", type=int, default=default.segment_sets, help="sets in one file of a split output, at most lost"
    )
    parser.add_argument("--processes", type=int, default=default.processes, help="processes on this machine")
    parser.add_argument(
        "--warm-up",
        type=int,
        metavar="W",
        help=f"sets before each segment, with several processes (default: {default.warm_up})",
    )
    parser.add_argument(
        "--batch", type=int, default=default.batch, metavar="N", help="sets in one call of the engine (for GPUs)"
    )
    parser.add_argument(
        "--window-ahead",
        type=int,
        default=default.window_ahead,
        metavar="N",
        help="later sets seen together with each one, as sync.window has earlier ones (default: 0)",
    )
    parser.add_argument(
        "--chunk",
        type=int,
        metavar="N",
        help="N consecutive sets seen together, 0: each alone (default: 0 for bags; for what is none 8 pictures, with "
        "--loops and --ply)",
    )
    parser.add_argument(
        "--overlap", type=int, metavar="M", help="sets that a chunk shares with the one before (default: half)"
    )
    parser.add_argument("--loops", action="store_true", help="with --chunk: close loops where places are seen again")
    parser.add_argument("--ply", action="store_true", help="also one coloured cloud of the whole recording")
    parser.add_argument("--colmap", action="store_true", help="also a COLMAP model with its images")
    parser.add_argument("--rerun", action="store_true", help="also a recording for the Rerun viewer")
    parser.add_argument("--pictures", type=int, default=default.pictures, help="sets shown in the report")


def request_of(arguments: argparse.Namespace, source: Path, output: Path) -> Any:
    """The request that the arguments of `add_options` describe."""
    from da3_ros.bag.io.writer import Format
    from da3_ros.bag.plan.options import Options, Request

    words = {"all": ("*",), "none": ()}
    copy = [part for text in arguments.copy for part in words.get(text, (text,))]
    storage = arguments.storage or {".db3": "sqlite3"}.get(output.suffix, "mcap")
    chunk = arguments.chunk or 0
    if arguments.overlap is not None and not chunk:
        raise ValueError(f"--overlap {arguments.overlap} is of chunks: give --chunk N as well, or leave it out")
    if arguments.warm_up is not None and (arguments.processes == 1 or chunk):
        remedy = "a chunk needs none, leave it out" if chunk else "give --processes N as well"
        raise ValueError(f"--warm-up {arguments.warm_up} is of segments in several processes: {remedy}")
    options = Options(
        outputs=tuple(arguments.outputs),
        copy=tuple(copy),
        segment_sets=arguments.segment,
        form=Format(storage, arguments.compress),
        processes=arguments.processes,
        warm_up=Options.warm_up if arguments.warm_up is None else arguments.warm_up,
        pictures=arguments.pictures,
        batch=arguments.batch,
        window_ahead=arguments.window_ahead,
        chunk=chunk,
        overlap=chunk // 2 if arguments.overlap is None else arguments.overlap,
        loops=arguments.loops,
        scene=tuple(kind for kind in ("ply", "colmap", "rerun") if getattr(arguments, kind)),
        by_recording=arguments.chunk is None and not arguments.loops,
    )
    return Request(
        source,
        output,
        arguments.params,
        tuple(arguments.set),
        arguments.model,
        tuple(arguments.cameras),
        options,
        reading_of(arguments),
    )


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Options for recordings that are no bags."""
    group = parser.add_argument_group("recordings that are no bags")
    group.add_argument(
        "--fps",
        type=float,
        help="pictures a second to take at most (default: of a video 5, else all), or at which pictures without stamps "
        "were taken (default: 10)",
    )
    group.add_argument(
        "--camera-info",
        nargs="+",
        default=[],
        metavar="[NAME=]FILE",
        help="calibrations that the recording lacks: camera_info YAML of camera_calibration, or Kalibr's camchain.yaml",
    )
    group.add_argument(
        "--poses",
        type=Path,
        metavar="FILE",
        help="where the rig was (its first camera, where nothing else is known), "
        "T_world_rig: TUM's format, by stamps or a line a picture; or KITTI's, a line a picture",
    )
    group.add_argument(
        "--metres-per-unit", type=float, help="of the recording's poses, which COLMAP's have no metres for"
    )


def reading_of(arguments: argparse.Namespace) -> Any:
    """What the arguments of `add_reading` add to a recording."""
    from da3_ros.bag.sources import Reading

    poses = None if arguments.poses is None else arguments.poses.absolute()
    given = tuple(_absolute(text) for text in arguments.camera_info)
    factor = positive("--metres-per-unit", arguments.metres_per_unit)
    return Reading(positive("--fps", arguments.fps), given, poses, factor)


def positive(option: str, value: float | None) -> float:
    """A number that an option gives, 0 where it was left out. Raises ValueError for one that is not positive."""
    if value is not None and not 0 < value < math.inf:
        raise ValueError(f"{option} {value:g}: it must be a positive number, or be left out")
    return value or 0.0


def _absolute(text: str) -> str:
    """``[NAME=]FILE`` that holds on another machine's process as well."""
    name, sign, file = text.partition("=")
    if not sign or Path(text).is_file():  # a file's name may hold the sign
        return str(Path(text).absolute())
    return f"{name}={Path(file).absolute()}"


def run(arguments: argparse.Namespace) -> int:
    """0: every frame; 3: finished, but something of the input could not be used, or nothing came of it; 1: failed."""
    from tqdm import tqdm

    from da3_ros.bag.plan.outcome import has_errors
    from da3_ros.bag.plan.plan import describe, make_plan
    from da3_ros.bag.plan.sources import settled
    from da3_ros.bag.run.reprocess import reprocess

    if arguments.output is None and not arguments.dry_run:
        raise ValueError("name the output, or look with --dry-run")
    request = request_of(arguments, arguments.input, arguments.output or Path("dry-run"))
    if arguments.dry_run or not arguments.quiet:
        with request.open() as recording:
            recording.check_content()
            shown = settled(request, recording)
            print(describe(recording, make_plan(recording, shown), shown.options), flush=True)
    if arguments.dry_run:
        return 0
    said: list[str] = []
    with tqdm(unit="set", disable=arguments.quiet, dynamic_ncols=True) as bar:

        def progress(done: int, most: int) -> None:
            bar.total = most
            bar.update(done - bar.n)

        def log(level: int, text: str) -> None:
            words = {1: "note", 2: "error"}
            said.append(text)
            tqdm.write(f"{words.get(level, 'note')}: {text}", file=sys.stderr)

        summary = reprocess(
            request, progress=progress, log=log, restart=arguments.restart, overwrite=arguments.overwrite
        )
        bar.total = bar.n
    if not arguments.quiet:
        print(summary_text(summary))
    elif has_errors(summary):
        print("\n".join(_why_lost(summary, said)), file=sys.stderr)
    return LOST if has_errors(summary) else 0


def _why_lost(summary: dict[str, Any], said: Sequence[str]) -> list[str]:
    """Why a run is no success, without what was `said` while it went."""
    from da3_ros.bag.plan.outcome import lost_frames

    lines = [f"error: {problem}" for problem in summary["problems"] if problem not in said]
    for issue in summary["issues"]:
        text = f"{issue['camera']}: {issue['text']}" if issue["camera"] else issue["text"]
        if issue["level"] == _ERROR and text not in said:
            lines.append(f"error: {text}")
    lost = ", ".join(f"{number} {cause}" for cause, number in sorted(lost_frames(summary).items()))
    lines += [f"error: frames are lost: {lost}"] if lost else []
    lines += [] if summary["sets"] else ["error: not one set came of this recording"]
    return lines or ["error: something of the recording is lost, see above"]


def summary_text(summary: dict[str, Any]) -> str:
    """What became of the frames, as a table, and what was wrong."""
    from da3_ros.bag.plan.topics import table

    rows = [("camera", "received", "used", "dropped")]
    for camera, counts in summary["frames"].items():
        dropped = ", ".join(f"{n} {cause}" for cause, n in sorted(counts["dropped"].items()))
        rows.append((camera, str(counts["received"]), str(counts["used"]), dropped or "0"))
    lines = [f"{len(summary['sets'])} sets in {summary['seconds']:.1f} s -> {summary['output']}", table(rows)]
    words = {1: "note", 2: "error"}
    for issue in sorted(summary["issues"], key=lambda issue: -issue["level"]):
        text = f"{issue['camera']}: {issue['text']}" if issue["camera"] else issue["text"]
        times = f" ({issue['count']} times)" if issue["count"] > 1 else ""
        lines.append(f"{words.get(issue['level'], 'note')}: {text}{times}")
    lines += [f"note: {problem}" for problem in summary["problems"]]
    relative = [each["scale"] for each in summary["sets"] if not each["scale"]["metric"]]
    if relative:
        share = "" if len(relative) == len(summary["sets"]) else f" in {len(relative)} of {len(summary['sets'])} sets"
        lines.append(f"note: depth is relative{share}, its frames say so: {relative[-1]['message']}")
    if not summary["sets"]:
        lines.append("error: not one set came of this recording")
    return "\n".join(lines)
