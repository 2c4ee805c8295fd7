"""The house: imports without circles, no private name across modules, one name a thing.

That rooms import downward is checked by import-linter (``lint-imports``; its contracts are in
pyproject.toml). Here is what its contracts do not say, module by module.
"""

import ast
import functools
import importlib
import re
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

import latprof

PACKAGE = Path(latprof.__file__).parent
MODULES = {
    ".".join(("latprof", *path.relative_to(PACKAGE).with_suffix("").parts)): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
ROOMS = {name.removesuffix(".__init__") for name in MODULES}
#: Rooms that hold one module a command.
OF_COMMANDS = ("latprof.cli", "latprof.workflows")
ROOM_SIZE = 13  # and an __init__
#: A private attribute that is not read of ``self`` or ``cls`` by these names.
OF_ANOTHER = re.compile(r"(?<!\bself)(?<!\bcls)\._[A-Za-z]")


@functools.cache
def trees():
    """Every module's syntax, read by the process whose tests want it and not to collect them."""
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


@functools.cache
def graph():
    """Who imports whom, in functions and for types too; a room's __init__ is a module too."""
    return grimp.build_graph("latprof", cache_dir=None)


def test_no_module_imports_itself_round_a_circle():
    imports = {name: graph().find_modules_directly_imported_by(name) for name in graph().modules}
    assert len(imports) > 200
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_nobody_imports_the_face_of_the_package():
    """What ``latprof`` hands on lies above everything; a version is in ``latprof._version``."""
    assert graph().find_modules_that_directly_import("latprof") <= {"latprof.__main__"}


def private(name):
    return name.startswith("_") and not name.endswith("__") and name != "_"


def test_private_names_stay_in_their_module():
    wrong = {
        name: found
        for name, tree in trees().items()
        if (found := foreign_imports(tree) + foreign_attributes(tree, source_of(name)))
    }
    assert wrong == {}


def foreign_imports(tree):
    """Private names that a module imports from others of latprof."""
    return [
        f"line {node.lineno}: from {node.module} import {alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "latprof"
        for alias in node.names
        if private(alias.name)
    ]


def source_of(name):
    return MODULES[name].read_text(encoding="utf-8")


def foreign_attributes(tree, source):
    """Private attributes read from other objects than one's own, and not defined in this module."""
    if not OF_ANOTHER.search(source):  # most modules: nothing to look for
        return []
    own, modules = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            own |= {t.id for t in targets if isinstance(t, ast.Name)}
            own |= {t.attr for t in targets if isinstance(t, ast.Attribute) and is_self(t.value)}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            modules |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    return [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and private(node.attr) and not is_self(node.value)
        if node.attr not in own or (isinstance(node.value, ast.Name) and node.value.id in modules)
        # What libraries document although it begins with "_", and torch has no other name for.
        if node.attr not in {"_mapping", "_exit"} and not ast.unparse(node).startswith("torch.")
    ]


def is_self(node):
    """Whether an expression is the object whose method this is, or its class."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in {"super", "type"}
    return isinstance(node, ast.Name) and node.id in {"self", "cls"}


def test_no_two_public_classes_share_a_name():
    homes = defaultdict(list)
    for name, tree in trees().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(name)
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


def test_no_two_modules_share_a_name():
    """But ``base``, a command and its workflow, and a paper's space and its method."""
    homes = defaultdict(list)
    for module in MODULES:
        room, _, name = module.rpartition(".")
        if name not in {"__init__", "base"}:
            homes[name].append(room)
    allowed = (set(OF_COMMANDS), {"latprof.datasets.spaces", "latprof.searchers"})
    assert {
        name: rooms
        for name, rooms in homes.items()
        if len(rooms) > 1 and not any(pairs(rooms, one) for one in allowed)
    } == {}


def pairs(rooms, allowed):
    """Whether two rooms lie in two different ones of those allowed to share names."""
    inside = {one for one in allowed for room in rooms if f"{room}.".startswith(f"{one}.")}
    return len(rooms) == 2 and inside == allowed


def test_rooms_are_small_enough_to_look_around_in():
    rooms = defaultdict(list)
    for module, path in MODULES.items():
        if path.name != "__init__.py":
            rooms[module.rpartition(".")[0]].append(path.stem)
    large = {room: len(names) for room, names in rooms.items() if len(names) > ROOM_SIZE}
    assert not large.keys() - set(OF_COMMANDS)


def test_the_top_level_links_lead_into_the_package():
    root = PACKAGE.parent
    if not (root / "pyproject.toml").exists():
        pytest.skip("not a checkout")
    for name in ("profilers", "predictors", "searchers", "datasets"):
        link = root / name
        assert link.is_symlink()
        assert link.resolve() == PACKAGE / name


FACES = [
    ".".join(("latprof", *path.relative_to(PACKAGE).parts[:-1]))
    for path in sorted(PACKAGE.rglob("*.pyi"))
]


@pytest.mark.parametrize("room", FACES)
def test_names_loaded_late_are_those_that_type_checkers_see(room):
    """A stub re-exports each name under its own: what it says is what is there."""
    package = importlib.import_module(room)
    stub = Path(package.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    seen = []
    for node in ast.parse(stub).body:
        assert isinstance(node, ast.ImportFrom)
        assert node.module
        (alias,) = node.names
        assert alias.asname == alias.name
        module = importlib.import_module(node.module)
        assert getattr(package, alias.name) is getattr(module, alias.name)
        seen.append(alias.name)
    assert sorted(seen) == sorted({*package.__all__, *({"__version__"} & vars(package).keys())})
    assert set(seen) <= set(dir(package))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        package.nonsense  # noqa: B018


def test_no_module_imports_through_a_face():
    """Its names are loaded when they are used, so a circle through it would not be seen above."""
    wrong = [
        f"{name}, line {node.lineno}: {ast.unparse(node)}"
        for name, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in FACES
        for alias in node.names
        if f"{node.module}.{alias.name}" not in ROOMS
    ]
    assert wrong == []


#: A private name of a module or class that a test puts another value in the place of.
REPLACED = re.compile(r"""setattr\(\s*(?:[\w.]+,\s*["']|["']latprof[\w.]*\.)(_(?!_)\w*)["']""")
#: Names of other libraries, which have no other.
OF_LIBRARIES = {"_candidate_tempdir_list", "_is_mkldnn_fp16_supported"}


def test_tests_and_benchmarks_replace_no_private_names():
    """That they read none is checked by ruff (SLF001)."""
    root = Path(__file__).resolve().parent.parent
    wrong = {
        f"{path.relative_to(root)}: {name}"
        for folder in ("tests", "benchmarks", "examples")
        for path in sorted((root / folder).rglob("*.py"))
        for name in REPLACED.findall(path.read_text(encoding="utf-8"))
        if name not in OF_LIBRARIES
    }
    assert wrong == set()
