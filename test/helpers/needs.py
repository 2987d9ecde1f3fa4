# SPDX-License-Identifier: Apache-2.0
"""Tests that want more than the package needs on a robot say so in their first line, and skip where it is not there."""

from __future__ import annotations

from importlib.util import find_spec

import pytest


def needs(*modules: str) -> None:
    """Skip the test module that calls this, or the test, unless all of `modules` (dotted names) are installed; none of
    them is imported.
    """
    lacking = [name for name in modules if not _is_there(name)]
    if lacking:
        pytest.skip(f"needs {', '.join(lacking)}, which `make env` installs", allow_module_level=True)


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # the package that a module would be in
        return False
