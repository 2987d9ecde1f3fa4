# SPDX-License-Identifier: Apache-2.0
"""Metric geometry for robots from any number of cameras, with Depth Anything 3."""

__version__ = "0.1.0"
