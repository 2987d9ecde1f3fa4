# SPDX-License-Identifier: Apache-2.0
"""Rendered training scenes: furnished rooms with exact depth, intrinsics and poses."""
