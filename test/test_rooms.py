# SPDX-License-Identifier: Apache-2.0
"""Every room says what it is for and in which order its files are read, and forgets none of them."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = sorted(
    init.parent
    for house in ("da3_ros", "training/da3_training")
    for init in (ROOT / house).rglob("__init__.py")
    if init.parent != ROOT / "da3_ros"  # its own page is docs/architecture.md
)


def names(room):
    """Files and rooms in it."""
    files = {path.stem for path in room.glob("*.py")} - {"__init__", "__main__"}
    return files | {path.parent.name for path in room.glob("*/__init__.py")}


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.relative_to(ROOT).as_posix())
def test_a_room_says_in_which_order_its_files_are_read(room):
    text = ast.get_docstring(ast.parse((room / "__init__.py").read_text()))
    assert text, "it begins with a sentence on what the room is for"
    assert names(room) - set(re.findall(r"`(\w+)`", text)) == set()


def test_every_folder_of_code_is_a_room():
    folders = {path.parent for house in ("da3_ros", "training/da3_training") for path in (ROOT / house).rglob("*.py")}
    assert folders - {ROOT / "da3_ros"} == set(ROOMS)
