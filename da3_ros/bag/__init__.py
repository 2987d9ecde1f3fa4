# SPDX-License-Identifier: Apache-2.0
"""Recorded bags: every frame of a recording gets its geometry, without a ROS installation and without PyTorch."""
