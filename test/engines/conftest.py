# SPDX-License-Identifier: Apache-2.0
from pretended_gpu import driver, folder, images, leftovers, machine  # noqa: F401
