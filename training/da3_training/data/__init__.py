# SPDX-License-Identifier: Apache-2.0
"""Training data from files to batches; nothing here knows a loss or a network's weights.

Read `records` (a view, and how it is stored), `codecs` (files of depth and masks), `window` (cut, scale, mirror),
`view_sampling` (which views), `look` (colours and noise), `stored_labels` (depth of a teacher in place of the data's
own), `samples` (batches that follow from seed and step alone); then what losses make of a batch: `normalise` (ground
truth in the network's unit), `correspondence` (where views see the same).
"""
