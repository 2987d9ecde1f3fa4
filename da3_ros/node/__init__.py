# SPDX-License-Identifier: Apache-2.0
"""The live node: cameras in, metric depth, clouds and poses out. The only package that speaks to ROS."""
