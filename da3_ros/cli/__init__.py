# SPDX-License-Identifier: Apache-2.0
"""The ``da3`` command, one verb a file.

Read `main` (which verb), then the verbs: `models`, `images`, `render`, `bag`, `fleet`, `report`, `view`, `export`,
`build`, `doctor`; `shots` is what `images` is given. A verb imports what only it needs when it runs.
"""

from da3_ros.blas import one_thread

one_thread()  # before any verb imports NumPy
