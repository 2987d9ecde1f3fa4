# SPDX-License-Identifier: Apache-2.0
import os
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent

# What `da3 build` found on this machine decides which engine runs a model: tests start from nothing.
_PLANS = tempfile.TemporaryDirectory(prefix="da3_plans_")
os.environ["DA3_PLANS"] = _PLANS.name


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the marks
def pytest_collection_modifyitems(items):
    """In several processes (pytest-xdist) each folder stays in one, for its fixtures are dear; see the Makefile."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(item.path.relative_to(HERE).parts[0]))
