# SPDX-License-Identifier: Apache-2.0
"""Who may import what: ROS only at the rim, no PyTorch at run time, only from lower floors."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "da3_ros"
# Floors from the ground up; a package imports from lower ones, from its own, and what is named.
FLOORS = {
    "atomic": 0,
    "geometry": 1, "engines": 1, "models": 1, "hub": 1,
    "network": 2, "messages": 2, "estimation": 2, "visual": 2,
    "files": 3, "export": 4, "sync": 3,
    "stream": 4,
    "node": 5, "bag": 5, "launching": 5,
    "cli": 6,
}  # fmt: skip
ROS = {"rclpy", "rcl_interfaces", "launch", "launch_ros"}


def imports(path, *, everywhere):
    """Modules that a file imports; everywhere: inside functions, too."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if everywhere else tree.body
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def files(package="."):
    return sorted((PACKAGE / package).rglob("*.py"))


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_only_the_node_and_its_launch_files_import_ros(path):
    if path.relative_to(PACKAGE).parts[0] in ("node", "launching.py"):
        return
    found = {name.split(".")[0] for name in imports(path, everywhere=True)}
    assert not {name for name in found if name in ROS or name.endswith("_msgs")}


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_packages_import_from_lower_floors_only(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        return
    for name in imports(path, everywhere=False):
        parts = name.split(".")
        if parts[0] != "da3_ros" or len(parts) < 2 or parts[1] == own:
            continue
        assert FLOORS[parts[1]] < FLOORS[own], f"{path.name} imports {name}"


@pytest.mark.parametrize(
    "module",
    [
        "da3_ros.geometry",
        "da3_ros.messages",
        "da3_ros.sync",
        "da3_ros.engines",
        "da3_ros.estimation",
        "da3_ros.cli.main",
        "da3_ros.bag.run.reprocess",
        "da3_ros.bag.run.processes",
        "da3_ros.bag.fleet.fleet",
        "da3_ros.node",
        pytest.param("da3_ros.node.multi_cam", marks=pytest.mark.system),
    ],
)
def test_no_torch_at_run_time(module):
    if module == "da3_ros.node.multi_cam":
        pytest.importorskip("rclpy")
    code = f"import {module}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "module", ["da3_ros.messages", "da3_ros.sync", "da3_ros.estimation", "da3_ros.bag.run.reprocess"]
)
def test_no_ros_below_the_node(module):
    code = f"import {module}, sys; sys.exit('rclpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
