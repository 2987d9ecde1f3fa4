# SPDX-License-Identifier: Apache-2.0
"""Entry point of the ``da3`` command."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from da3_ros.cli import bag, build, doctor, export, fleet, images, models, render, report, view

VERBS = (models, images, render, bag, fleet, report, view, export, build, doctor)
_BAGS = "rosbags mcap tqdm"
REMEDIES = {
    "bag": f"pip install {_BAGS}",
    "view": f"pip install {_BAGS} rerun-sdk",
    "fleet": f"pip install {_BAGS} ray fsspec",
    "models": "pip install safetensors huggingface-hub",
}
"""How to get what a verb needs beyond the node: the extras of setup.py."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; expected errors end as one line on stderr and exit code 1."""
    words = sys.argv[1:] if argv is None else argv
    asked = next((word for word in words if not word.startswith("-")), "")
    parser = argparse.ArgumentParser(prog="da3", description="Metric geometry with Depth Anything 3.")
    parser.add_argument("-v", "--verbose", action="store_true", help="log what is done")
    verbs = parser.add_subparsers(dest="verb", required=True)
    try:
        for module in VERBS:
            verb = verbs.add_parser(module.NAME, help=module.HELP, description=module.HELP)
            if asked == module.NAME:  # the others may need packages that are not here
                module.configure(verb)
                verb.set_defaults(run=module.run)
        arguments = parser.parse_args(words)
        logging.basicConfig(level=logging.INFO if arguments.verbose else logging.WARNING, format="%(message)s")
        return arguments.run(arguments)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in ("", "da3_ros"):
            raise
        remedy = REMEDIES.get(asked, f"pip install {package}")
        print(f"da3 {asked}: needs {package}, which is not installed: `{remedy}`", file=sys.stderr)
        return 1
    except (ValueError, OSError, RuntimeError) as error:
        print(f"da3 {asked}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
