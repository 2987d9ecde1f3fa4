# SPDX-License-Identifier: Apache-2.0
"""Public data sets, each in its published folder layout: one file with `find_scenes` and `load_scene` a set."""

from da3_training.datasets.registry import DATASETS, SceneSet

__all__ = ["DATASETS", "SceneSet"]
