# SPDX-License-Identifier: Apache-2.0
"""Public data sets, each in its published folder layout: one file with `find_scenes` and `load_scene` a set.

Read `registry` (sets by name), `rooms` (our own records, the plainest set), `frames` (axes and text formats that sets
share); then any of the others, which stand side by side: rendered `hypersim`, `tartanair`, `vkitti2`, `mvs_synth`,
`pointodyssey`, `objaverse` and `blendedmvs`, scanned `scannetpp`, `arkitscenes` and `co3dv2`, and for evaluation
alone `seven_scenes`, `dtu`, `eth3d`, `tabletop` and, which is no folder, `motorcycle`.
"""

from da3_training.datasets.registry import DATASETS, SceneSet

__all__ = ["DATASETS", "SceneSet"]
