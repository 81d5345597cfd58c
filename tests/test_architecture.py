"""Rules of the whole tree: which way imports go, no simulator in the core, no unpickling."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = (
    ("errors", "files", "structures", "environments", "seeding", "processes", "parallel"),
    ("optimal_transport", "networks"),
    ("data",),
    ("preferences",),
    ("rewards",),
    ("policies",),
    ("evaluation",),
    ("training",),
    ("benchmark",),
    ("report",),
    ("hil", "label"),
    ("cli",),
)
"""Packages of robopref, leaves first: each imports from its own layer and those before it."""
SIMULATORS = set(
    "metaworld mujoco mujoco_py robosuite robomimic robopref_envs pymunk dm_control".split()
)
PICKLERS = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
SOURCES = sorted((ROOT / "robopref").rglob("*.py"))
ADAPTERS = sorted((ROOT / "envs").rglob("*.py"))
OTHERS = sorted(
    path for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Dotted names of imported modules, wherever in the file, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or "", node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def layer_of(module: str) -> int | None:
    """Layer of a module of robopref; None for `robopref` itself, which holds the version only."""
    parts = module.split(".")
    for number, names in enumerate(LAYERS):
        if len(parts) > 1 and parts[1] in names:
            return number
    return None


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_package_has_a_layer():
    known = {name for names in LAYERS for name in names} | {"__init__"}
    found = {path.relative_to(ROOT / "robopref").parts[0].removesuffix(".py") for path in SOURCES}
    assert found <= known


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_imports_go_one_way(path):
    own = layer_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for module, line in imported(parsed(path)):
        other = layer_of(module) if module.split(".")[0] == "robopref" else None
        if other is not None:
            assert own is not None, (
                f"{path}:{line}: robopref/__init__.py imports nothing of its own"
            )
            assert other <= own, f"{path}:{line}: {module} is of a later layer"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_the_core_imports_no_simulator(path):
    for module, line in imported(parsed(path)):
        assert module.split(".")[0] not in SIMULATORS, f"{path}:{line}: {module}"


def unpickling(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Everything that could run code found in a file."""
    for module, line in imported(tree):
        if module.split(".")[0] in PICKLERS:
            yield module, line
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if given.get("allow_pickle", "False") != "False":
            yield called, node.lineno
        if called == "torch.load" and given.get("weights_only") != "True":
            yield called, node.lineno
        if called.endswith("read_pickle"):
            yield called, node.lineno


@pytest.mark.parametrize("path", [*SOURCES, *ADAPTERS], ids=relative)
def test_nothing_is_unpickled(path):
    assert list(unpickling(parsed(path))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "np.load(f, allow_pickle=True)",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "pd.read_pickle(f)",
    ],
)
def test_the_check_for_unpickling_finds_it(line):
    assert len(list(unpickling(ast.parse(line)))) >= 1


def modules_after(statement: str) -> set[str]:
    """Top-level modules that are loaded after a statement in a fresh process."""
    program = f"import sys\n{statement}\nprint('LOADED', *{{m.split('.')[0] for m in sys.modules}})"
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(said.stdout.split("LOADED")[1].split())


@pytest.mark.parametrize(
    "statement", ["import robopref", "from robopref.cli.main import main; main(['--help'])"]
)
def test_import_and_help_are_light(statement):
    heavy = SIMULATORS | {"torch", "numpy", "gymnasium", "hydra", "h5py", "scipy", "matplotlib"}
    assert not modules_after(statement) & heavy


def test_registering_environments_loads_no_simulator():
    loaded = modules_after("import robopref_envs")
    assert not loaded & (SIMULATORS - {"robopref_envs"})


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_no_file_names_a_home_folder():
    home = re.compile(rb"(?<![\w.])/(home|root|Users|work)/\w")
    for path in tracked_files():
        if path.is_file():
            content = path.read_bytes()
            if b"\0" not in content:
                assert not home.search(content), path


@pytest.mark.parametrize("path", [*SOURCES, *ADAPTERS, *OTHERS], ids=relative)
def test_files_stay_readable(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
