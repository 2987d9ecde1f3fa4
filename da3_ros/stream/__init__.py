# SPDX-License-Identifier: Apache-2.0
"""From frame sets to published geometry, without rclpy: the live node and the bag tool both are made of it."""
