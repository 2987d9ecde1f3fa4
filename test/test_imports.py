# SPDX-License-Identifier: Apache-2.0
"""Who may import what: ROS only at the rim, no PyTorch at run time, only from lower floors, and never in a circle."""

import ast
import os
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from needs import needs

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "da3_ros"
# From the ground up, what stands on one floor beside each other: a room imports from lower floors only.
HOUSES = {
    "da3_ros": (
        {"geometry", "sync", "models", "atomic", "blas", "hub", "visual", "launching"},
        {"messages", "engines"},
        {"estimation", "network"},
        {"stream", "files", "render"},
        {"viewer"},
        {"node", "bag", "export"},
        {"cli"},
    ),
    "da3_ros.bag": (
        {"errors"},
        {"motion"},
        {"sources"},
        {"io"},
        {"plan"},
        {"report"},
        {"scene"},
        {"line"},
        {"run"},
        {"fleet"},
    ),
    "da3_training": (
        {"data"},
        {"datasets", "losses", "scenes"},
        {"bags", "config", "labels", "shards"},
        {"studio"},
        {"run"},
        {"evaluate", "score_table"},
        {"rented"},
        {"cli"},
        {"__main__"},
    ),
}
FOLDERS = {"da3_ros": ROOT, "da3_training": ROOT / "training"}
ROS = {"rclpy", "rcl_interfaces", "launch", "launch_ros"}


def imports(path):
    """What a file imports, inside functions and for type checkers, too: ``a.b.c`` for `from a.b import c`."""
    for node in import_nodes(path.read_text()):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            assert not node.level, f"{path}: imports are absolute here, so that it can be read where they lead"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def import_nodes(text):
    """Statements of a module that import; most files are asked about several times."""
    return [node for node in statements(ast.parse(text)) if isinstance(node, (ast.Import, ast.ImportFrom))]


def statements(node):
    """All of them below a node, however deep; `ast.walk` goes through every expression, and takes ten times as long."""
    for field in ("body", "handlers", "orelse", "finalbody", "cases"):
        for child in getattr(node, field, ()):
            yield child
            yield from statements(child)


def files(package=PACKAGE):
    return sorted(package.rglob("*.py"))


def paths_of(folder, package):
    """Every module of a package by its dotted name."""
    paths = {}
    for path in files(folder / package):
        parts = path.relative_to(folder).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return paths


def modules(folder, package):
    """Every module of a package by its dotted name, and the others of the package that it imports."""
    paths, graph = paths_of(folder, package), {}
    for module, path in paths.items():
        # The c of `from a.b import c` is a module, or something in the module a.b.
        found = {name if name in paths else name.rpartition(".")[0] for name in imports(path)}
        graph[module] = found & paths.keys() - {module}
    return graph


def find_strangers(folder, known):
    """Imports of the project's own modules, or of names in them, that are not there, as ``file: name``; a type checker
    that is told to pass over missing packages passes over these as well.

    known: the names that each module has, by its dotted name.
    """
    own = {module.split(".")[0] for module in known}

    def is_there(name, *, whole):
        module, _, attribute = name.rpartition(".")
        return name in known or (not whole and attribute in known.get(module, ()))

    found = []
    for path in files(folder):
        statements = import_nodes(path.read_text())
        whole = {alias.name for node in statements if isinstance(node, ast.Import) for alias in node.names}
        found += [
            f"{path.name}: {name}"
            for name in imports(path)
            if name.split(".")[0] in own and not is_there(name, whole=name in whole)
        ]
    return found


def names_of(path):
    """What a module has besides modules in its folder: all names that are bound anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                names.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def find_circle(graph):
    """Modules of a circle of imports, the first one again at the end; None where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return None


def find_climbs(graph, house, floors):
    """Imports that do not lead to a lower floor, within `house`, and rooms that stand on none."""
    height = {room: number for number, floor in enumerate(floors) for room in floor}
    climbs = set()
    for module, found in graph.items():
        for other in found:
            if not (module.startswith(f"{house}.") and other.startswith(f"{house}.")):
                continue
            here, there = (name.removeprefix(f"{house}.").split(".")[0] for name in (module, other))
            for room in (here, there):
                if room not in height:
                    climbs.add(f"{house}.{room} stands on no floor")
            if here != there and height.get(there, 0) >= height.get(here, 0):
                climbs.add(f"{module} imports {other}")
    return sorted(climbs)


@pytest.mark.parametrize("package", FOLDERS)
def test_no_imports_in_a_circle(package):
    assert find_circle(graph_of(package)) is None


@cache
def graph_of(package):
    return modules(FOLDERS[package], package)


EVERY_MODULE = [(package, module) for package in FOLDERS for module in sorted(graph_of(package))]


@pytest.mark.parametrize(("package", "module"), EVERY_MODULE, ids=[module for _, module in EVERY_MODULE])
def test_imports_lead_to_lower_floors_only(package, module):
    graph = {module: graph_of(package)[module]}
    for house, floors in HOUSES.items():
        assert find_climbs(graph, house, floors) == []


@pytest.mark.parametrize("house", HOUSES)
def test_every_room_stands_on_one_floor(house):
    package = house.split(".")[0]
    folder = FOLDERS[package].joinpath(*house.split("."))
    rooms = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    placed = [room for floor in HOUSES[house] for room in floor]
    assert sorted(placed) == sorted(rooms - {"__init__"})


@pytest.mark.parametrize("folder", ["da3_ros", "training", "benchmark", "tools", "examples", "launch", "test"])
def test_own_modules_are_where_imports_look_for_them(folder):
    assert find_strangers(ROOT / folder, known_names()) == []


@cache
def known_names():
    return {
        module: names_of(path) for package in FOLDERS for module, path in paths_of(FOLDERS[package], package).items()
    }


def test_an_old_place_is_found(tmp_path):
    known = {"da3_ros": {"__version__"}, "da3_ros.bag": {"BagError"}}
    (tmp_path / "a.py").write_text("def f():\n    from da3_ros.bag.reader import Recording\n\nimport numpy.linalg")
    assert find_strangers(tmp_path, known) == ["a.py: da3_ros.bag.reader.Recording"]
    (tmp_path / "a.py").write_text(
        "from da3_ros import __version__, bag\nfrom da3_ros.bag import BagError\nimport da3_ros.bag"
    )
    assert find_strangers(tmp_path, known) == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("from da3_ros import reader", "da3_ros.reader"),
        ("from da3_ros.bag import reader", "da3_ros.bag.reader"),
        ("import da3_ros.reader", "da3_ros.reader"),
        ("import da3_ros.bag.BagError", "da3_ros.bag.BagError"),
    ],
)
def test_an_old_place_in_a_package_that_is_there_is_found(tmp_path, text, name):
    (tmp_path / "a.py").write_text(text)
    known = {"da3_ros": {"__version__"}, "da3_ros.bag": {"BagError"}}
    assert find_strangers(tmp_path, known) == [f"a.py: {name}"]


def test_the_package_does_not_know_its_training():
    for path in files():
        assert not any(name.split(".")[0] == "da3_training" for name in imports(path)), path


@pytest.fixture
def house(tmp_path):
    """Write files of a small package `h` with two rooms; returns its imports."""

    def build(**contents):
        for room in ("", "low", "high"):
            folder = tmp_path / "h" / room
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "__init__.py").touch()
        for place, text in contents.items():
            (tmp_path / "h" / f"{place.replace('__', '/')}.py").write_text(text)
        return modules(tmp_path, "h")

    return build


@pytest.mark.parametrize(
    "back",
    [
        "from h.low.a import f",
        "import h.low.a",
        "from h.low import a",
        "def g():\n    from h.low.a import f",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from h.low.a import f",
        "class A:\n    async def f(self):\n        with x:\n            import h.low.a",
        "try:\n    pass\nexcept OSError:\n    import h.low.a",
        "try:\n    pass\nfinally:\n    import h.low.a",
        "for x in y:\n    pass\nelse:\n    import h.low.a",
        "match x:\n    case 1:\n        import h.low.a",
    ],
)
def test_a_circle_is_found(house, back):
    found = find_circle(house(low__a="from h.low.b import g", low__b=back))
    assert found is not None
    assert set(found) == {"h.low.a", "h.low.b"}


def test_files_that_share_a_third_are_no_circle(house):
    assert find_circle(house(low__a="from h.low.c import x", low__b="from h.low.c import x", low__c="x = 1")) is None


@pytest.mark.parametrize("text", ["from h.high.b import g", "def f():\n    import h.high.b", "from h.high import b"])
def test_an_import_that_goes_up_is_found(house, text):
    graph = house(low__a=text, high__b="g = 1")
    assert find_climbs(graph, "h", ({"low"}, {"high"})) == ["h.low.a imports h.high.b"]
    assert find_climbs(graph, "h", ({"high"}, {"low"})) == []
    assert find_climbs(graph, "h", ({"high", "low"},)) == ["h.low.a imports h.high.b"]


@pytest.mark.parametrize(("text", "name"), [("from h import high", "high"), ("from h import top", "top")])
def test_an_import_of_a_room_itself_that_goes_up_is_found(house, text, name):
    graph = house(low__a=text, top="x = 1")
    assert find_climbs(graph, "h", ({"low"}, {"high", "top"})) == [f"h.low.a imports h.{name}"]


def test_a_room_without_a_floor_is_found(house):
    graph = house(low__a="from h.high.b import g", high__b="g = 1")
    assert "h.high stands on no floor" in find_climbs(graph, "h", ({"low"},))


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_only_the_node_and_its_launch_files_import_ros(path):
    if path.relative_to(PACKAGE).parts[0] in ("node", "launching.py"):
        return
    found = {name.split(".")[0] for name in imports(path)}
    assert not {name for name in found if name in ROS or name.endswith("_msgs")}


ROS_FREE = (
    "da3_ros.geometry",
    "da3_ros.messages",
    "da3_ros.sync",
    "da3_ros.engines",
    "da3_ros.estimation",
    "da3_ros.files.scenes",
    "da3_ros.render.renderers",
    "da3_ros.bag.sources",
    "da3_ros.cli.main",
)
WITH_BAGS = ("da3_ros.bag.run.reprocess", "da3_ros.bag.run.processes", "da3_ros.bag.fleet.fleet")


def find_heavy(*modules):
    """Which of some modules, imported one after the other in a new process, is the first to load PyTorch, and which
    rclpy: [(module, package)].
    """
    code = (
        "import importlib, sys\n"
        "wanted = {'torch', 'rclpy'}\n"
        "for module in sys.argv[1:]:\n"
        "    importlib.import_module(module)\n"
        "    for package in sorted(wanted & sys.modules.keys()):\n"
        "        print(module, package)\n"
        "    wanted -= sys.modules.keys()\n"
    )
    path = os.pathsep.join(filter(None, (str(ROOT / "training"), os.environ.get("PYTHONPATH"))))
    env = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-c", code, *modules]
    done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    return [tuple(line.split()) for line in done.stdout.splitlines()]


def test_no_torch_at_run_time_and_no_ros_below_the_node():
    assert find_heavy(*ROS_FREE) == []


def test_no_torch_and_no_ros_for_recordings():
    needs("mcap", "rosbags", "scipy")
    assert find_heavy(*WITH_BAGS) == []


@pytest.mark.system
def test_no_torch_in_the_node():
    needs("rclpy")
    assert find_heavy("da3_ros.node", "da3_ros.node.multi_cam") == [("da3_ros.node.multi_cam", "rclpy")]


def test_no_torch_where_rooms_are_rendered():
    """Every process of `da3-train scenes` would load it."""
    needs("moderngl", "webdataset")
    assert find_heavy("da3_training.cli.main", "da3_training.cli.scenes", "da3_training.scenes.generate") == []


def test_what_loads_them_is_found():
    needs("torch")
    assert find_heavy("da3_ros.geometry", "da3_ros.network", "torch") == [("da3_ros.network", "torch")]
