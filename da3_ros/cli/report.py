# SPDX-License-Identifier: Apache-2.0
"""``da3 report``: the HTML report of an output of ``da3 bag``."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "report"
HELP = "write the HTML report of an output of da3 bag anew: one file that needs nothing else"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("bag", type=Path, help="output of da3 bag; the folder beside it, BAG.da3, holds what is shown")
    parser.add_argument("-o", "--output", type=Path, help="the file to write (default: BAG.da3/report.html)")


def run(arguments: argparse.Namespace) -> int:
    """Write it and say where."""
    from da3_ros.bag.report.report import write_report

    print(write_report(arguments.bag, arguments.output))
    return 0
