# SPDX-License-Identifier: Apache-2.0
"""Rendered training scenes: furnished rooms with exact depth, intrinsics and poses.

Read `generate` (the command: whole rooms into folders), `room` (one scene, drawn), `mesh` (what it is built of) and
`arrays` (names of kinds of arrays), `shell` (floor, walls, windows, lamps), `built_in` (furniture along whole walls),
`furnishing` (what stands where), `placement` (without overlaps), `clutter` (small things on it), `tabletop` (a table
full of them); then where furniture and textures come from: `sources` (one call for all of it), `furniture` (what a
piece is), `roles` (where it goes), `assets` (the library), `archives` and `obj_files` (the files it is read from),
`store` (where meshes and images lie); the same in a few files: `packs` (read), `packing` (written), `choosing` (a
part of them), `mesh_codec` and `image_codec` (their bytes); then surfaces: `textures` (the bank), `texels` (their one
form), `patterns` (makers by tag), `materials`, `prints` and `noise` (the makers); then pictures: `cameras` (poses),
`lighting` (lamps, sun, and their shadows), `render` and `shaders` (colour and depth), `lens`, `sensor` (a photo of
it); `recording` (a drive through a room as a bag); and `worlds` (scenes from worlds of Gazebo in place of drawn ones).
"""
