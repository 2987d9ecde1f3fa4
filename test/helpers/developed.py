# SPDX-License-Identifier: Apache-2.0
"""Samplers whose batches are as a network sees them."""

from da3_training.data import samples
from da3_training.data.develop import develop


class Sampler(samples.Sampler):
    """Gives `Batch` in place of `RawBatch`."""

    def __getitem__(self, step):
        return develop(super().__getitem__(step))
