# SPDX-License-Identifier: Apache-2.0
"""``python -m da3_training``: the same as `da3-train`."""

from da3_training.cli import main

if __name__ == "__main__":
    main()
