# SPDX-License-Identifier: Apache-2.0
"""ament_python build: the package and its commands; launch files, configuration and models go into share."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = "da3_ros"
ROOT = Path(__file__).resolve().parent


def share_files(*folders: str) -> list[tuple[str, list[str]]]:
    """(destination, files) for every folder that holds files, nested ones included."""
    found: dict[str, list[str]] = {}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                relative = path.relative_to(ROOT)
                found.setdefault(f"share/{NAME}/{relative.parent.as_posix()}", []).append(relative.as_posix())
    return list(found.items())


setup(
    name=NAME,
    version="0.1.0",
    description="Metric depth, point clouds and poses from camera topics with Depth Anything 3, for ROS 2",
    maintainer="da3_ros maintainers",
    maintainer_email="maintainers@da3-ros.org",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={
        NAME: [
            "py.typed",
            "bag/report/report.html",
            "bag/report/viewer.html",
            "bag/report/viewer.js",
            "bag/report/three.bundle.js",
            "engines/sweep.onnx",
        ]
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *share_files("launch", "config", "models"),
    ],
    install_requires=[
        "numpy",
        "opencv-python-headless",
        "onnxruntime",
        "array-api-compat",
        "pyyaml",
        "scipy",
    ],
    extras_require={
        # `colcon test` runs pytest only where this says so.
        "test": ["pytest", "pytest-timeout"],
        "bag": ["rosbags", "mcap", "tqdm"],
        "fleet": ["ray", "fsspec"],
        "openvino": ["openvino"],
        "rerun": ["rerun-sdk"],
        "colmap": ["pycolmap"],
        "network": ["torch>=2.1", "safetensors", "huggingface-hub", "onnx", "onnxscript"],
    },
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "multi_cam = da3_ros.node.multi_cam:main",
            "da3 = da3_ros.cli.main:main",
        ],
    },
)
