# SPDX-License-Identifier: Apache-2.0
"""The stand-in for `launch` and `launch_ros`: as strict as the real ones, on which the same cases run."""

import ast
import inspect
from importlib import import_module

import pytest
import yaml
from launching_bench import ROOT, STAND_IN, Bench, LaunchFailed, is_real

HEAD = """
from launch import *
from launch.actions import *
from launch.conditions import IfCondition, UnlessCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import *
from launch_ros.actions import *
from launch_ros.descriptions import ComposableNode, Parameter, ParameterFile, ParameterValue
from launch_ros.substitutions import FindPackageShare

DECLARED = [DeclareLaunchArgument(name, default_value=value) for name, value in [("a", "x"), ("t", "true"), ("n", "2")]]
A, T, N = (LaunchConfiguration(name) for name in "atn")

def start(**options):
    return Node(package="da3_ros", executable="multi_cam", **options)

def generate_launch_description():
    return LaunchDescription([*DECLARED, {actions}])
"""
# What came after Humble.
LATER = {"respawn_max_retries", "separator", "python_modules", "deprecated_reason", "cancel_on_shutdown"}
LATER_CLASSES = {"EqualsSubstitution", "NotEqualsSubstitution"}


@pytest.fixture
def bench(tmp_path, monkeypatch):
    with Bench(tmp_path, monkeypatch) as bench:
        yield bench


@pytest.fixture
def launched(bench, tmp_path):
    """Launches a file with these actions; returns what was started."""

    def launched(actions, **arguments):
        path = tmp_path / "case.launch.py"
        path.write_text(HEAD.replace("{actions}", actions))
        return bench.start(path, **arguments)

    return launched


def is_known(text):
    """Whether this distribution has the classes in a text."""
    module = import_module("launch.substitutions")
    return all(hasattr(module, name) for name in LATER_CLASSES if name in text)


SHARE = "PathJoinSubstitution([FindPackageShare('da3_ros'), 'f'])"
SUBSTITUTIONS = {
    "A": "x",
    "['<', A, '>']": "<x>",
    "LaunchConfiguration('missing', default='d')": "d",
    "LaunchConfiguration(['', 'a'])": "x",
    "TextSubstitution(text='t')": "t",
    "PathJoinSubstitution(['/r', A, 'f'])": "/r/x/f",
    "PythonExpression([N, ' + 1'])": "3",
    "PythonExpression(['floor(2.5) + ', N])": "4",
    "PythonExpression([\"'\", A, \"' == 'x'\"])": "True",
    "EqualsSubstitution(A, 'x')": "true",
    "EqualsSubstitution(T, True)": "true",
    "EqualsSubstitution(N, 2.0)": "true",
    "NotEqualsSubstitution(A, 'x')": "false",
    "NotSubstitution(T)": "false",
    "AndSubstitution(T, 'false')": "false",
    "OrSubstitution('false', T)": "true",
    "EnvironmentVariable('DA3_NONE', default_value='none')": "none",
    "Command('echo -n said')": "said",
    SHARE: "share/da3_ros/f",
}


def test_substitutions(launched):
    cases = {text: said for text, said in SUBSTITUTIONS.items() if is_known(text)}
    nodes = launched(", ".join(f"start(arguments=[{text!r}, {text}])" for text in cases))
    found = dict(node.arguments for node in nodes)
    found[SHARE] = found[SHARE].partition("/prefix/")[2]
    assert found == cases


CONDITIONS = {
    "IfCondition(T)": True,
    "UnlessCondition(T)": False,
    "IfCondition('0')": False,
    "IfCondition(PythonExpression([N, ' > 1']))": True,
    "IfCondition(EqualsSubstitution(A, 'y'))": False,
}


def test_conditions(launched):
    cases = {text: holds for text, holds in CONDITIONS.items() if is_known(text)}
    nodes = launched(", ".join(f"start(condition={text}, arguments=[{text!r}])" for text in cases))
    assert {node.arguments[0] for node in nodes} == {text for text, holds in cases.items() if holds}


PARAMETERS = {
    "{'s': 'text', 'e': '', 'i': 2, 'f': 0.5, 'b': True}": {"s": "text", "e": "", "i": 2, "f": 0.5, "b": True},
    "{'a': {'b': {'c': 1}}, 'd.e': 2}": {"a.b.c": 1, "d.e": 2},
    "{'s': ['x', 'y'], 'i': [1, 2], 'f': [1, 2.5], 'b': [True]}": {
        "s": ["x", "y"],
        "i": [1, 2],
        "f": [1.0, 2.5],
        "b": [True],
    },
    "{'s': ['1', 'true']}": {"s": ["1", "true"]},
    "{'s': '1'}": {"s": "1"},
    "{'n': N, 't': T, 'a': A}": {"n": 2, "t": True, "a": "x"},
    "{'joined': [A, '/', N]}": {"joined": "x/2"},
    "{'each': [[A], [A, 'b']]}": {"each": ["x", "xb"]},
    "{A: 1, ('p.', A): 2}": {"x": 1, "p.x": 2},
    "{'n': ParameterValue(N, value_type=str)}": {"n": "2"},
    "{'n': ParameterValue(N, value_type=float)}": {"n": 2.0},
}


def test_parameters(launched):
    nodes = launched(", ".join(f"start(arguments=[{text!r}], parameters=[{text}])" for text in PARAMETERS))
    found = {node.arguments[0]: node.parameters for node in nodes}
    assert found == PARAMETERS
    for text, values in PARAMETERS.items():
        assert {name: repr(value) for name, value in found[text].items()} == {
            name: repr(value)
            for name, value in values.items()  # 1 is not 1.0, and not True
        }


def test_later_parameters_win_and_rules_for_the_node_over_those_for_all(launched, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("/**:\n  ros__parameters: {a: 1, b: 1, c: 1}\n")
    [node] = launched(f"start(name='n', namespace='s', parameters=[{{'a': 2}}, {str(path)!r}, {{'b': 3}}])")
    assert node.parameters == {"a": 2, "b": 3, "c": 1}
    [node] = launched(f"start(parameters=[{{'a': 2}}, {str(path)!r}, ParameterFile({str(path)!r})])")
    assert node.parameters == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ("", {}),
        ("name='n'", {"__node": "n"}),
        ("namespace=''", {"__ns": "/"}),
        ("namespace='s'", {"__ns": "/s"}),
        ("namespace=[A, '/', 'b']", {"__ns": "/x/b"}),
    ],
)
def test_names(launched, options, names):
    assert launched(f"start({options})")[0].names == names


def test_names_below_a_pushed_namespace(launched):
    pushed = "GroupAction([PushRosNamespace('p'), start(namespace='s'), start(namespace='/r'), start()])"
    found = [node.names.get("__ns", "none") for node in launched(f"{pushed}, start()")]
    assert sorted(found) == ["/p", "/p/s", "/r", "none"]


def test_remappings(launched):
    nodes = launched("SetRemap('q', 'r'), start(remappings=[('/a', '/b'), (A, ['c', N])])")
    assert nodes[0].remappings == {"q": "r", "/a": "/b", "x": "c2"}


def test_environment(launched):
    nodes = launched(
        "SetEnvironmentVariable('V', ['v', A]), start(arguments=['1']), "
        "start(arguments=['2'], additional_env={'V': 'own'}), UnsetEnvironmentVariable('V'), start(arguments=['3'])"
    )
    assert {node.arguments[0]: node.env.get("V") for node in nodes} == {"1": "vx", "2": "own", "3": None}
    text = "SetEnvironmentVariable('V', 'v'), AppendEnvironmentVariable('V', 'w'), start()"
    assert launched(text)[0].env["V"] == "v:w"


def test_what_is_set_is_seen_by_what_follows_unless_a_group_is_scoped(launched):
    inner = "[SetLaunchConfiguration('a', 'y'), SetEnvironmentVariable('V', 'v'), start(arguments=[A])]"
    for scoped, later in ((True, ("x", None)), (False, ("y", "v"))):
        nodes = launched(f"GroupAction({inner}, scoped={scoped}), start(arguments=[A])")
        assert {(node.arguments[0], node.env.get("V")) for node in nodes} == {("y", "v"), later}
    [node] = launched("GroupAction([start(arguments=[LaunchConfiguration('a', default='gone')])], forwarding=False)")
    assert node.arguments == ["gone"]


def test_an_included_file_leaves_behind_what_it_declares_and_where_it_lies(launched, tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "b.launch.py").write_text(
        "from launch import LaunchDescription\nfrom launch.actions import DeclareLaunchArgument\n"
        "def generate_launch_description():\n"
        "    own = DeclareLaunchArgument('own', default_value='o')\n"
        "    return LaunchDescription([DeclareLaunchArgument('given'), own])"
    )
    source = "PythonLaunchDescriptionSource([ThisLaunchFileDir(), '/inner/b.launch.py'])"
    rest = "start(arguments=[LaunchConfiguration('given'), LaunchConfiguration('own'), ThisLaunchFileDir()])"
    [node] = launched(f"IncludeLaunchDescription({source}, launch_arguments=[('given', A)]), {rest}")
    assert node.arguments == ["x", "o", str(tmp_path / "inner")]
    with pytest.raises(LaunchFailed, match="missing required argument 'given'"):
        launched(f"IncludeLaunchDescription({source})")


def test_arguments(launched):
    nodes = launched("start(arguments=['--x', A], ros_arguments=['-r', 'c:=d'])", a="given")
    assert (nodes[0].arguments, nodes[0].remappings) == (["--x", "given"], {"c": "d"})
    with pytest.raises(LaunchFailed, match="missing required argument 'r'"):
        launched("DeclareLaunchArgument('r')")
    with pytest.raises(LaunchFailed, match='Required launch argument "r" was not provided'):
        launched("OpaqueFunction(function=lambda context: [DeclareLaunchArgument('r')])")
    declared = "DeclareLaunchArgument('mode', default_value='A', choices=['A', 'B'])"
    assert launched(f"{declared}, start(arguments=[LaunchConfiguration('mode')])", mode="B")[0].arguments == ["B"]
    with pytest.raises(LaunchFailed, match='"mode" provided value "C" is not valid'):
        launched(declared, mode="C")


def test_functions_and_timers(launched):
    function = "OpaqueFunction(function=lambda context, word: [start(arguments=[word, A])], args=['w'])"
    timers = ", ".join(
        f"TimerAction(period={period}, actions=[start(arguments=['{period}'])])" for period in (0.3, 0.1)
    )
    assert [node.arguments for node in launched(f"{timers}, {function}")] == [["w", "x"], ["0.1"], ["0.3"]]


def test_processes(launched, bench, tmp_path):
    kept = ", ".join(f"'{name}': EnvironmentVariable('{name}')" for name in ("DA3_RECORDED", "PATH"))
    program = bench.prefix / "bin" / "ros2"
    [command] = launched(f"ExecuteProcess(cmd=['{program}', A], cwd='{tmp_path}', env={{{kept}}})")
    assert (command.program, command.arguments) == ("ros2", ["x"])
    assert "AMENT_PREFIX_PATH" not in command.env
    assert command.env["PWD"] == str(tmp_path)
    [command] = launched("ExecuteProcess(cmd=['ros2', A], shell=True, output='both')")
    assert command.arguments == ["x"]


def test_lifecycle_nodes_and_containers(launched, bench):
    if bench.is_real:
        pytest.skip("on the real packages these want services of a running ROS graph")
    node = "LifecycleNode(package='da3_ros', executable='multi_cam', name='n', namespace='s')"
    part = "ComposableNode(package='p', plugin='p::C', parameters=[{'a': 1}], remappings=[('a', 'b')])"
    options = f"package='da3_ros', executable='multi_cam', composable_node_descriptions=[{part}]"
    container = f"ComposableNodeContainer(name='c', namespace='', {options})"
    names = [command.names for command in launched(f"{node}, {container}")]
    assert names == [{"__node": "n", "__ns": "/s"}, {"__node": "c", "__ns": "/"}]


REFUSED = {
    "start(respwan=True)": "respwan",
    "start(node_name='n')": "node_name",
    "start(parameters={'a': 1})": "parameters",
    "start(parameters=[{'a': None}])": "None",
    "start(parameters=[{'a': [1, 'b']}])": "uniform type",
    "start(parameters=[{'a': []}])": "value",
    "start(remappings=[['a', 'b']])": "remap_rule",
    "start(remappings=[('a', 'b', 'c')])": "remap_rule",
    "Node(package='da3_ros')": "executable",
    "Node('da3_ros', 'multi_cam')": "positional",
    "LifecycleNode(package='da3_ros', executable='multi_cam', name='n')": "namespace",
    "ComposableNode(package='p')": "plugin",
    "DeclareLaunchArgument('q', default='x')": "default",
    "DeclareLaunchArgument('q', 'x')": "positional",
    "DeclareLaunchArgument('q', default_value=3)": "int",
    "SetEnvironmentVariable('A', 1)": "int",
    "SetEnvironmentVariable('A')": "value",
    "OpaqueFunction(lambda context: [])": "positional",
    "OpaqueFunction(function='f')": "OpaqueFunction",
    "TimerAction(period=None, actions=[])": "period",
    "TimerAction(period=1.0)": "actions",
    "IncludeLaunchDescription()": "launch_description_source",
    "IncludeLaunchDescription('f.launch.py', arguments={})": "arguments",
    "GroupAction([], scope=True)": "scope",
    "GroupAction()": "actions",
    "ExecuteProcess(['ls'])": "positional",
    "ExecuteProcess(cmd=[1])": "int",
    "LaunchConfiguration()": "variable_name",
    "TextSubstitution('t')": "positional",
    "PathJoinSubstitution('a', 'b')": "positional",
    "EqualsSubstitution('a')": "right",
    "IfCondition()": "predicate_expression",
    "ParameterFile(3)": "ParameterFile",
    "FindPackageShare()": "package",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_the_documentation_does_not_name_is_refused(launched, text):
    if not is_known(text):
        pytest.skip("this distribution has no such class at all")
    with pytest.raises(LaunchFailed, match=REFUSED[text]):
        launched(text)


@pytest.mark.parametrize(
    "text",
    [
        "start(condition='true')",
        "start(output=3)",
        "start(emulate_tty='yes')",
        "start(respawn_delay='soon')",
        "start(namespace=4)",
        "'no action'",
        "GroupAction(['no action'])",
        "OpaqueFunction(function=lambda context: ['no action'])",
        "IncludeLaunchDescription('f.launch.py', launch_arguments={'a': 'b'})",
        "DeclareLaunchArgument('q', default_value='x', choices='xyz')",
    ],
)
def test_types_are_refused(launched, bench, text):
    if bench.is_real:
        pytest.skip("the real packages find some of these out later, or not at all")
    with pytest.raises(LaunchFailed):
        launched(text)


def test_what_is_not_there_is_said(launched):
    for text, words in {
        "Node(package='none', executable='multi_cam')": "none",
        "Node(package='da3_ros', executable='none')": "executable 'none' not found",
        "start(name='a/b')": "node name",
        "start(namespace='a b')": "namespace",
        "start(output='everywhere')": "everywhere is not a valid standard output config",
        "start(condition=IfCondition('maybe'))": "maybe",
        "start(arguments=[LaunchConfiguration('none')])": "launch configuration 'none' does not exist",
        "DeclareLaunchArgument('c', default_value='d', choices=['e'])": "not in provided choices",
        "DeclareLaunchArgument('c', choices=[])": "choices arg is empty",
    }.items():
        with pytest.raises(LaunchFailed, match=words):
            launched(text)


def test_the_yaml_is_as_launch_ros_writes_it(launched, tmp_path):
    launched("start(name='n', namespace='s', parameters=[{'a.b': ['x', 'y'], 'c': 1}])")
    [path] = (tmp_path / "tmp").glob("launch_params_*")
    text = path.read_text()
    assert text == "/s/n:\n  ros__parameters:\n    a.b: !!python/tuple\n    - x\n    - y\n    c: 1\n"
    assert yaml.unsafe_load(text)["/s/n"]["ros__parameters"]["a.b"] == ("x", "y")


def test_our_launch_files_use_nothing_that_humble_lacks():
    for path in [*(ROOT / "launch").glob("*.launch.py"), ROOT / "da3_ros" / "launching.py"]:
        nodes = list(ast.walk(ast.parse(path.read_text())))
        words = {node.id for node in nodes if isinstance(node, ast.Name)}
        words |= {node.arg for node in nodes if isinstance(node, ast.keyword)}
        assert not words & (LATER | LATER_CLASSES), path


def signatures():
    """Of the stand-in's public classes by their full names: positional and keyword names, and those without default."""
    for path in sorted(STAND_IN.rglob("*.py")):
        module = ".".join(path.relative_to(STAND_IN).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.parse(path.read_text()).body:
            functions = node.body if isinstance(node, ast.ClassDef) else []
            for function in functions:
                if isinstance(function, ast.FunctionDef) and function.name == "__init__":
                    yield module, node.name, function.args


@pytest.mark.skipif(not is_real(), reason="no launch, no launch_ros to compare with")
def test_signatures_are_those_of_the_real_classes():
    """But for what came after this distribution."""
    kinds, differences = inspect.Parameter, []
    for module, name, arguments in signatures():
        house = ".".join(module.split(".")[:2]) if module.split(".")[1:2] == ["actions"] else module
        real = getattr(import_module(house), name, None)
        if real is None:
            assert name in LATER_CLASSES
            continue
        parameters = inspect.signature(real.__init__).parameters
        positional = {n for n, p in parameters.items() if p.kind is kinds.POSITIONAL_OR_KEYWORD} - {"self"}
        keyword = {n for n, p in parameters.items() if p.kind is kinds.KEYWORD_ONLY}
        required = {n for n, p in parameters.items() if n in positional | keyword and p.default is kinds.empty}
        ours = {argument.arg for argument in arguments.args[1:]}
        ours_keyword = {argument.arg for argument in arguments.kwonlyargs}
        defaulted = {a.arg for a in arguments.args[len(arguments.args) - len(arguments.defaults) :]} | {
            a.arg for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is not None
        }
        unknown = (ours - positional) | (ours_keyword - keyword)
        other = (required - {"process_description"}) ^ ((ours | ours_keyword) - defaulted)
        differences += [(module, name, what) for what in (unknown - LATER) | other]
    assert differences == []
