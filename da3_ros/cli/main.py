# SPDX-License-Identifier: Apache-2.0
"""Entry point of the ``da3`` command."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from da3_ros.cli import bag, build, doctor, export, fleet, images, models, report

VERBS = (models, images, bag, fleet, report, export, build, doctor)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; expected errors end as one line on stderr and exit code 1."""
    parser = argparse.ArgumentParser(prog="da3", description="Metric geometry with Depth Anything 3.")
    parser.add_argument("-v", "--verbose", action="store_true", help="log what is done")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for module in VERBS:
        verb = verbs.add_parser(module.NAME, help=module.HELP, description=module.HELP)
        module.configure(verb)
        verb.set_defaults(run=module.run)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO if arguments.verbose else logging.WARNING, format="%(message)s")
    try:
        return arguments.run(arguments)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"da3 {arguments.verb}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
