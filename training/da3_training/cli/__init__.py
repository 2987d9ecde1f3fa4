# SPDX-License-Identifier: Apache-2.0
"""The command `da3-train`, one verb a file."""

from da3_training.cli.main import main

__all__ = ["main"]
