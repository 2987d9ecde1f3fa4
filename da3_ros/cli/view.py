# SPDX-License-Identifier: Apache-2.0
"""``da3 view``: a recording, or an output of ``da3 bag``, in Rerun."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from da3_ros.stream.viewing import ViewerParameters

NAME = "view"
HELP = "show an output of da3 bag, or a recording, in Rerun: in a window, in a browser, elsewhere, or as a file"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from da3_ros.stream.viewing import CONNECT

    parser.add_argument(
        "path", type=Path, help="output of da3 bag (its input's pictures are shown, too), a bag, or what da3 bag takes"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--connect", metavar="URL", nargs="?", const=CONNECT, help=f"to a viewer that runs (default: {CONNECT})"
    )
    where.add_argument("--serve", metavar="PORT", nargs="?", const="", help="to browsers, until Ctrl-C (default: 9090)")
    where.add_argument("--save", metavar="FILE.rrd", help="into a file, for `rerun FILE.rrd`")
    parser.add_argument(
        "--topics", nargs="+", default=(), metavar="PATTERN", help="only these, such as '*/depth/*' (default: all)"
    )
    parser.add_argument("--rate", type=float, default=0.0, help="messages of a topic a second, at most (default: all)")
    parser.add_argument("--size", type=int, default=480, help="longest side in pixels, 0: no limit (default: 480)")
    parser.add_argument("--realtime", action="store_true", help="as fast as it was recorded, not as fast as it can be")


def run(arguments: argparse.Namespace) -> int:
    """Show it; 0, or 3 if something of it was lost."""
    from tqdm import tqdm

    from da3_ros.bag.scene.playback import Playback

    where = _where(arguments)
    with Playback(arguments.path, arguments.topics) as playback:
        for note in playback.notes:
            print(note, file=sys.stderr)
        with tqdm(total=playback.count, unit="message", disable=None) as bar:
            shown = playback.show(
                where,
                lambda text: tqdm.write(text, file=sys.stderr),
                realtime=arguments.realtime,
                on_message=lambda: bar.update() and None,
                at_end=_wait if where.mode == "serve" else _nothing,
            )
    for problem in shown.problems:
        print(problem, file=sys.stderr)
    print(f"{sum(shown.messages.values())} messages of {len(shown.messages)} topics")
    return 3 if shown.problems else 0


def _where(arguments: argparse.Namespace) -> ViewerParameters:
    """Where the arguments want it. Raises ValueError for an address that is none."""
    from da3_ros.stream.viewing import ViewerParameters, what_address

    mode = next((mode for mode in ("connect", "serve", "save") if getattr(arguments, mode) is not None), "spawn")
    address = getattr(arguments, mode, "") or ""
    if allowed := what_address(mode, address):
        raise ValueError(f"--{mode} {address} must be {allowed}")
    if not (0 <= arguments.rate < math.inf) or arguments.size < 0:
        raise ValueError(f"--rate {arguments.rate:g} --size {arguments.size} must be 0, for no limit, or more")
    return ViewerParameters(mode, address, arguments.rate, arguments.size)


def _wait() -> None:
    print("served until Ctrl-C", file=sys.stderr)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def _nothing() -> None:
    pass
