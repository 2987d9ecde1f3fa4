# SPDX-License-Identifier: Apache-2.0
"""The command `da3-train`, one verb a file.

Read `main` (which verb), then the verbs in the order of their use: `from_bag` and `scenes` (records), `pack_scenes`
(furniture and textures for other machines), `shards` (for a cluster), `label` (a teacher's labels), `train`, `export`
(a run's weights), `join` (those it wrote in pieces), `average` (of several), `evaluate` (scores),
`rented` (all of it on a machine with a GPU, in minutes).
"""

from da3_training.cli.main import main

__all__ = ["main"]
