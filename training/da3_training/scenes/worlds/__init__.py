# SPDX-License-Identifier: Apache-2.0
"""Training views rendered inside worlds of Gazebo: a simulated place that somebody has furnished already.

Read `world` (a part of a world becomes a scene), `sdf` (what stands where, from its files), `surfaces` (meshes,
colours and textures of that), `materials` (scripts and maps that name a texture) and `space` (where a camera can be).
"""
