# SPDX-License-Identifier: Apache-2.0
"""``da3 models``: what the zoo knows and what is on this machine."""

from __future__ import annotations

import argparse
from dataclasses import fields

from da3_ros.models import ModelError, find_model, load_zoo

NAME = "models"
HELP = "list the models, or show one"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="all models, with licence and whether they are here")
    show = actions.add_parser("show", help="everything that is known of one model")
    show.add_argument("name")


def run(arguments: argparse.Namespace) -> int:
    """Print the list or the record."""
    zoo = load_zoo()
    if arguments.action == "list":
        for record in zoo.values():
            try:
                where = str(find_model(record.name)[1])
            except ModelError:
                where = "not on this machine"
            print(f"{record.name:<12} {record.licence:<14} {'metric' if record.metric else 'relative':<9} {where}")
        return 0
    if arguments.name not in zoo:
        raise ModelError(f"unknown model {arguments.name!r}; known: {', '.join(zoo)}")
    record = zoo[arguments.name]
    for item in fields(record):
        print(f"{item.name:<20} {getattr(record, item.name)}")
    return 0
