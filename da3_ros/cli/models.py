# SPDX-License-Identifier: Apache-2.0
"""``da3 models``: what the zoo knows, what is on this machine, and how it gets here."""

from __future__ import annotations

import argparse
import os
import shutil
from dataclasses import fields
from pathlib import Path

from da3_ros.hub import fetch_snapshot
from da3_ros.models import CHECKPOINT, ModelError, ModelRecord, find_checkpoint, find_model, load_zoo, model_folders

NAME = "models"
HELP = "list the models, show one, or fetch one's checkpoint from the hub"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="all models, with licence and whether they are here")
    show = actions.add_parser("show", help="everything that is known of one model")
    show.add_argument("name")
    pull = actions.add_parser("pull", help="fetch a checkpoint; says its licence first, goes on where it was cut off")
    pull.add_argument("name")
    pull.add_argument("--revision", help="branch, tag or commit of its repository, for a result that can be repeated")


def run(arguments: argparse.Namespace) -> int:
    """Print the list or the record, or fetch the checkpoint."""
    zoo = load_zoo()
    if arguments.action == "list":
        width = max(len(name) for name in zoo)
        for record in zoo.values():
            unit = "metric" if record.metric else "relative"
            print(f"{record.name:<{width}}  {record.licence:<12}  {unit:<8}  {_where(record)}")
        return 0
    if arguments.name not in zoo:
        raise ModelError(f"unknown model {arguments.name!r}; known: {', '.join(zoo)}")
    record = zoo[arguments.name]
    if arguments.action == "pull":
        folder = pull_checkpoint(record, arguments.revision)
        print(f"{record.name}: checkpoint in {folder}; next: `da3 export {record.name}`")
        return 0
    for item in fields(record):
        print(f"{item.name:<20} {getattr(record, item.name)}")
    return 0


def pull_checkpoint(record: ModelRecord, revision: str | None = None) -> Path:
    """Fetch the checkpoint of a model into the user's folder of models and return that folder; prints the licence.

    Raises ModelError for a model without a repository or a file that is not whole, HubError where it cannot be fetched.
    """
    if not record.hub_id:
        raise ModelError(f"{record.name} ships with the package: there is nothing to fetch")
    print(f"{record.name} from {record.hub_id}, licence: {record.licence}", flush=True)
    if "NC" in record.licence:
        print("This licence does not allow commercial use.", flush=True)
    snapshot = fetch_snapshot(record.hub_id, revision)
    _check_whole(snapshot / CHECKPOINT)
    folder = model_folders()[-1] / record.name
    folder.mkdir(parents=True, exist_ok=True)
    for name in (CHECKPOINT, "config.json"):
        source = (snapshot / name).resolve()
        if not source.is_file():
            raise ModelError(f"{record.hub_id} has no {name}: report it, or take another revision")
        _place(source, folder / name)
    return folder


def _place(source: Path, target: Path) -> None:
    """Put a file of the hub's cache in place: without a second copy where both lie on one disk."""
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        os.link(source, partial)
    except OSError:
        shutil.copyfile(source, partial)
    partial.replace(target)


def _check_whole(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="np") as file:
            count = len(list(file.keys()))
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is not a whole safetensors file ({error}): delete it and pull again") from error
    if not count:
        raise ModelError(f"{path} holds no weights")


def _where(record: ModelRecord) -> str:
    try:
        return str(find_model(record.name)[1])
    except ModelError:
        pass
    try:
        return f"{find_checkpoint(record.name)} (no graphs yet: `da3 export {record.name}`)"
    except ModelError:
        return "not on this machine"
