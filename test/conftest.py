# SPDX-License-Identifier: Apache-2.0
import gc
import os
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# Not by pytest's own option: that of Ubuntu 22.04, which ROS 2 Humble uses, does not know it.
sys.path[:0] = [str(HERE / "helpers"), str(HERE.parent / "training")]

ALONE = {"test/export/test_single_view.py"}
APART = {"training"}
"""Folders whose own folders share no dear fixtures."""

# What `da3 build` found on this machine decides which engine runs a model: tests start from nothing.
_PLANS = tempfile.TemporaryDirectory(prefix="da3_plans_")
os.environ["DA3_PLANS"] = _PLANS.name

# Thousands of tests are millions of objects that stay: they are not gone through while they are made, nor afterwards.
gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    gc.enable()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the marks
def pytest_collection_modifyitems(config, items):
    """In several processes (pytest-xdist) each folder stays in one, for its fixtures are dear; see the Makefile. Files
    of the dearest one that share no fixture with the others may go elsewhere.
    """
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        file = item.nodeid.split("::")[0]
        parts = file.removeprefix("test/").split("/")
        group = file if file in ALONE else "/".join(parts[: 2 if parts[0] in APART else 1])
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture
def micros(monkeypatch):
    """All small presets, by name."""
    pytest.importorskip("torch")
    from micro import MICROS

    from da3_ros.network import PRESETS

    for preset in MICROS:
        monkeypatch.setitem(PRESETS, preset.name, preset)
    return [preset.name for preset in MICROS]


@pytest.fixture
def micro(micros):
    """A preset with every feature of the large ones whose tests take milliseconds."""
    return micros[0]
