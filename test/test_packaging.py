# SPDX-License-Identifier: Apache-2.0
"""The files that ROS tools and pip read agree with each other and with the code."""

import configparser
import importlib.util
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

import da3_ros

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def setup_call():
    """Arguments that setup.py passes to setuptools."""
    setuptools = pytest.importorskip("setuptools")

    seen = {}
    original, setuptools.setup = setuptools.setup, lambda **arguments: seen.update(arguments)
    try:
        exec(
            compile((ROOT / "setup.py").read_text(), str(ROOT / "setup.py"), "exec"),
            {"__file__": str(ROOT / "setup.py")},
        )
    finally:
        setuptools.setup = original
    return seen


@pytest.fixture(scope="module")
def manifest():
    return ET.parse(ROOT / "package.xml").getroot()


def test_package_xml(manifest, setup_call):
    assert manifest.get("format") == "3"
    assert manifest.findtext("name") == setup_call["name"] == "da3_ros"
    assert manifest.findtext("version") == setup_call["version"] == da3_ros.__version__
    assert manifest.findtext("license") == setup_call["license"] == "Apache-2.0"
    assert manifest.findtext("export/build_type") == "ament_python"
    assert manifest.find("maintainer").get("email") == setup_call["maintainer_email"]


def test_colcon_runs_the_tests_by_pytest(setup_call, manifest):
    """colcon looks for pytest among the test dependencies of setup.py, and takes unittest where it is not."""
    assert {"pytest", "pytest-timeout"} <= set(setup_call["extras_require"]["test"])
    assert "python3-pytest" in {entry.text for entry in manifest.findall("test_depend")}


def test_every_imported_ros_package_is_declared(manifest):
    declared = {entry.text for entry in manifest.findall("exec_depend")}
    text = "\n".join(path.read_text() for path in [*ROOT.glob("da3_ros/**/*.py"), *ROOT.glob("launch/*.py")])
    used = set(re.findall(r'"(\w+)/msg/\w+"', text)) | set(
        re.findall(r"^(?:from|import) (launch\w*|rclpy)", text, re.M)
    )
    assert used <= declared


def test_package_data_are_there(setup_call):
    """An editable installation would hide an old path."""
    assert all((ROOT / name / path).is_file() for name, paths in setup_call["package_data"].items() for path in paths)
    # What pages are made of is read at run time.
    pages = {path.relative_to(ROOT / "da3_ros").as_posix() for path in (ROOT / "da3_ros/bag/report").glob("*.[hj]*")}
    assert pages <= set(setup_call["package_data"]["da3_ros"])
    assert len(pages) == 4


def test_installed_files(setup_call):
    installed = dict(setup_call["data_files"])
    assert installed["share/ament_index/resource_index/packages"] == ["resource/da3_ros"]
    assert "package.xml" in installed["share/da3_ros"]
    assert "launch/multi_cam.launch.py" in installed["share/da3_ros/launch"]
    assert "config/multi_cam.yaml" in installed["share/da3_ros/config"]
    assert "models/zoo.yaml" in installed["share/da3_ros/models"]
    assert all((ROOT / file).is_file() for files in installed.values() for file in files)
    assert set(setup_call["packages"]) == {
        path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in ROOT.glob("da3_ros/**/__init__.py")
    }


def test_scripts_go_where_ros2_run_looks():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["install"]["install_scripts"] == config["develop"]["script_dir"] == "$base/lib/da3_ros"


def test_console_scripts_exist(setup_call):
    for entry in setup_call["entry_points"]["console_scripts"]:
        module, function = entry.split("=")[1].strip().split(":")
        source = importlib.util.find_spec(module)
        assert source is not None, module
        assert f"def {function}(" in Path(source.origin).read_text()


def test_example_configuration_names_every_parameter_with_its_default():
    pytest.importorskip("rclpy")
    from da3_ros.stream.parameters import SPECS, camera_specs

    values = yaml.safe_load((ROOT / "config/multi_cam.yaml").read_text())["/**"]["ros__parameters"]

    def flatten(tree, prefix=""):
        for key, value in tree.items():
            if isinstance(value, dict):
                yield from flatten(value, f"{prefix}{key}.")
            else:
                yield prefix + key, value

    expected = {spec.name: spec.default for spec in SPECS}
    expected["cameras"] = ["left", "right"]
    for camera in expected["cameras"]:
        expected.update({spec.name: spec.default for spec in camera_specs(camera)})
    assert dict(flatten(values)) == expected


def test_fast_dds_setting_is_the_same_everywhere():
    launch = (ROOT / "launch/multi_cam.launch.py").read_text()
    venv = (ROOT / "tools/venv_environment.py").read_text()
    values = re.findall(r'"(LARGE_DATA\?[^"]+)"', launch + venv)
    assert len(values) == 2
    assert len(set(values)) == 1


def test_training_and_tools_stay_out_of_a_workspace():
    for folder in ("training", "tools/tf2_msgs"):
        assert (ROOT / folder / "COLCON_IGNORE").exists()


def test_sources_name_their_licence():
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from check_headers import missing
    finally:
        sys.path.pop(0)
    sources = [path for pattern in ("da3_ros", "test", "tools", "launch") for path in (ROOT / pattern).rglob("*.py")]
    assert missing(sources) == []
