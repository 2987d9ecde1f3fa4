# SPDX-License-Identifier: Apache-2.0
"""``da3-train scenes``: see `da3_training.scenes.generate`."""

from da3_training.scenes.generate import main

__all__ = ["main"]
