# SPDX-License-Identifier: Apache-2.0
"""Places of ROS packages, by the ament index."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from launch.launch_context import LaunchContext
from launch.substitution import Substitution
from launch.substitutions import SubstitutionFailure
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions


class PackageNotFoundError(KeyError):
    """No prefix has the package; as that of ament_index_python."""


class FindPackage(Substitution):
    """Base of what looks for a package."""

    def __init__(self, package: Any) -> None:
        self.package = normalize_to_list_of_substitutions(package)

    def find(self, package_name: str) -> str:
        """A folder of the package."""
        raise NotImplementedError(f"{type(self).__name__} has no find")

    def perform(self, context: LaunchContext) -> str:
        return self.find(perform_substitutions(context, self.package))


class FindPackagePrefix(FindPackage):
    """Where it is installed."""

    def find(self, package_name: str) -> str:
        for prefix in filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)):
            if (Path(prefix) / "share/ament_index/resource_index/packages" / package_name).is_file():
                return prefix
        raise PackageNotFoundError(f"package '{package_name}' not found")


class FindPackageShare(FindPackagePrefix):
    """Its share folder."""

    def find(self, package_name: str) -> str:
        return os.path.join(super().find(package_name), "share", package_name)


class ExecutableInPackage(FindPackagePrefix):
    """The path of one of its programs."""

    def __init__(self, executable: Any, package: Any) -> None:
        super().__init__(package)
        self.executable = normalize_to_list_of_substitutions(executable)

    def perform(self, context: LaunchContext) -> str:
        name = perform_substitutions(context, self.executable)
        package = perform_substitutions(context, self.package)
        folder = os.path.join(self.find(package), "lib", package)
        found = shutil.which(name, path=folder)
        if found is None:
            raise SubstitutionFailure(f"executable '{name}' not found on the libexec directory '{folder}'")
        return found
