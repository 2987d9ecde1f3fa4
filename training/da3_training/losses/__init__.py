# SPDX-License-Identifier: Apache-2.0
"""Training objectives, one term a file.

Read `any_view` (the student's sum), `masked` (means over what is valid) and its terms `depth`, `rays`, `camera`,
`gradient`; then `teacher` (the sums of single-view networks) with its terms `scale_shift`, `normals`, `masks`; then
our own beside the paper's: `correspondence` (where views should attend) and `flow` (what tokens should know).
"""
