# SPDX-License-Identifier: Apache-2.0
"""Why nothing can be shown, and the SDK that shows."""

from __future__ import annotations

from typing import Any


class ViewerError(RuntimeError):
    """There is no viewer, or no way to it; the message says what to do."""


def require_rerun() -> Any:
    """The module `rerun`. Raises ViewerError where it is not installed, or too old for named frames."""
    try:
        import rerun
    except ImportError as error:
        raise ViewerError(f"Rerun's SDK is not installed ({error}): `pip install rerun-sdk`") from error
    if not hasattr(rerun, "CoordinateFrame"):
        version = getattr(rerun, "__version__", "of an unknown version")
        raise ViewerError(f"Rerun's SDK {version} knows no named frames: `pip install --upgrade rerun-sdk`")
    # At the process's end it would wait for open streams, for ever where a viewer hangs or a disk is full. Each stream
    # is closed by who made it (`da3_ros.viewer.places.finish` and `end`).
    rerun.unregister_shutdown()
    return rerun
