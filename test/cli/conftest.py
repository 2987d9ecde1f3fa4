# SPDX-License-Identifier: Apache-2.0
from pretended_gpu import driver, folder, machine  # noqa: F401
