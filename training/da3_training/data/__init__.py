# SPDX-License-Identifier: Apache-2.0
"""Training data from files to batches; nothing here knows a loss or a network's weights.

Read `records` (a view, and how it is stored), `codecs` (files of depth and masks), `edges` (depth near jumps that
cannot be trusted), `window` (cut, scale, mirror), `aim` (a camera turned), `view_sampling` (which views),
`stored_labels` (depth of a teacher in place of the data's own), `samples` (batches that follow from seed and step
alone), `batch` (what they are made of); then what is done to a whole batch on its device: `develop` (all of it, in
order), `exposure` (photos of rendered scenes, by the numbers of a `camera`), `look` (colours and noise), with
`filters`, `noise` and `jpeg`; then what losses make of it: `normalise` (ground truth in the network's unit),
`correspondence` (where views see the same).
"""
