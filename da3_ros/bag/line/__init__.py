# SPDX-License-Identifier: Apache-2.0
"""The assembly line: sets of a recording on their way through the estimator.

Read `intake` (jobs out of a recording) with `companions` (what belongs to images that it comes after) and `lookout`
(stamps and partners that go wrong), `orders` (what to do with each), `item` (a job on its way), `stages` (what happens
to it), `line` (stages side by side); then what some stages are made of: `ahead` (views of later sets), `batches`
(several sets in one call), `drops` (frames that are lost), `passed_over` (what sets
leave that are not estimated), `look_up` (estimates made before, in the estimator's place).
"""
