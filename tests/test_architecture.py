"""What the code promises about its own shape, read from the source and from the import graph."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.metadata
import inspect
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import mri_transfer.errors

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("mri_transfer", "pipelines")
MAX_LINES = 400

#: Calls that tie a result to the process instead of to the arguments.
HIDDEN_STATE = {
    "numpy.random.seed",
    "os.chdir",
    "os.getcwd",
    "pathlib.Path.cwd",
    "random.seed",
    "torch.manual_seed",
    "torch.set_default_dtype",
}
#: Ways to run code that a file brings along.
UNSAFE_MODULES = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
UNSAFE_CALLS = {"torch.load", "torch.save", "pandas.read_pickle"}
#: Packages that no command may wait for before it knows what to do.
HEAVY = (
    "SimpleITK",
    "matplotlib",
    "monai",
    "nibabel",
    "nilearn",
    "pandas",
    "scipy",
    "sklearn",
    "statsmodels",
    "torch",
    "torchvision",
)


def _files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


LIBRARY = _files("mri_transfer")
SHIPPED = _files(*PACKAGES)
ALL_CODE = _files(*PACKAGES, "benchmarks")

#: What a check finds wrong: a line a fault, with the file it is in.
Faults = list[str]


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _aliases(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for."""
    aliases = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                aliases[name.asname or name.name.partition(".")[0]] = (
                    name.name if name.asname else name.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module:
            for name in node.names:
                aliases[name.asname or name.name] = f"{node.module}.{name.name}"
    return aliases


def _dotted(node: ast.expr, aliases: dict[str, str]) -> str | None:
    """Return the full name of what an expression calls, if it is a plain name."""
    if isinstance(node, ast.Name):
        return aliases.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value, aliases)
        return None if before is None else f"{before}.{node.attr}"
    return None


def _calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    aliases = _aliases(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = _dotted(node.func, aliases)
            if name is not None:
                yield name, node


def _imported(tree: ast.Module) -> set[str]:
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            modules.add(node.module)
    return modules


def _public_definitions(tree: ast.Module) -> list[ast.FunctionDef | ast.ClassDef]:
    return [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]


def test_all_lists_what_other_files_use_and_nothing_else() -> None:
    used: dict[str, set[Path]] = {}
    for path in _files(*PACKAGES, "benchmarks", "tests"):
        for node in ast.walk(_tree(path)):
            names = [node.attr] if isinstance(node, ast.Attribute) else []
            if isinstance(node, ast.ImportFrom):
                names = [name.name for name in node.names]
            for name in names:
                used.setdefault(name, set()).add(path)
    faults: Faults = []
    for path in SHIPPED:
        module: ModuleType = importlib.import_module(_name(path))
        declared = list(getattr(module, "__all__", ()))
        faults += [f"{_name(path)}: no {name}" for name in declared if not hasattr(module, name)]
        faults += [
            f"{_name(path)}: {name} twice" for name in set(declared) if declared.count(name) > 1
        ]
        if path == ROOT / "mri_transfer" / "__init__.py":
            continue  # what users import
        faults += [
            f"{_name(path)}: nothing else uses {name}"
            for name in declared
            if not used.get(name, set()) - {path}
        ]
        defined = {node.name for node in _public_definitions(_tree(path))}
        faults += [
            f"{_name(path)}: {name} is imported from here and not in __all__"
            for name in sorted(defined - set(declared))
            if _is_imported(name, _name(path))
        ]
    assert faults == []


@functools.cache
def _imports() -> frozenset[tuple[str, str]]:
    """Return module and name of every import of a name."""
    return frozenset(
        (node.module, name.name)
        for path in _files(*PACKAGES, "benchmarks", "tests")
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ImportFrom) and node.module
        for name in node.names
    )


def _is_imported(name: str, module: str) -> bool:
    return (module, name) in _imports()


def test_public_functions_classes_and_methods_have_docstrings() -> None:
    faults: Faults = []
    for path in SHIPPED:
        tree = _tree(path)
        if path.stat().st_size and not ast.get_docstring(tree):
            faults.append(f"{_name(path)}: the module")
        for node in _public_definitions(tree):
            members = node.body if isinstance(node, ast.ClassDef) else []
            methods = [
                item
                for item in members
                if isinstance(item, ast.FunctionDef) and not item.name.startswith("_")
            ]
            faults += [
                f"{_name(path)}: {item.name}"
                for item in [node, *methods]
                if not ast.get_docstring(item)
            ]
    assert faults == []


def test_library_neither_prints_nor_reads_the_command_line() -> None:
    faults: Faults = []
    for path in LIBRARY:
        tree = _tree(path)
        found = {name for name, _ in _calls(tree)} & {"print", "input", "sys.exit", "exit"}
        found |= {name.partition(".")[0] for name in _imported(tree)} & {
            "argparse",
            "click",
            "optparse",
            "typer",
        }
        if "sys.argv" in ast.unparse(tree):
            found.add("sys.argv")
        faults += [f"{_name(path)}: {name}" for name in sorted(found)]
    assert faults == []


def test_nothing_hangs_on_the_state_of_the_process() -> None:
    legacy = re.compile(r"numpy\.random\.(?!default_rng$|Generator$|SeedSequence$|[A-Z])\w+$")
    faults: Faults = []
    for path in SHIPPED:
        calls = {name for name, _ in _calls(_tree(path))}
        found = {name for name in calls if name in HIDDEN_STATE or legacy.match(name)}
        faults += [f"{_name(path)}: {name}" for name in sorted(found)]
    assert faults == []


def test_no_file_is_read_that_could_run_code() -> None:
    faults: Faults = []
    for path in ALL_CODE:
        tree = _tree(path)
        unsafe = {name.partition(".")[0] for name in _imported(tree)} & UNSAFE_MODULES
        faults += [f"{_name(path)}: {name}" for name in sorted(unsafe)]
        faults += [
            f"{_name(path)}, line {call.lineno}: {name}"
            for name, call in _calls(tree)
            if (name in UNSAFE_CALLS and not _reads_tensors_alone(name, call))
            or name.endswith(".to_pickle")
            or "allow_pickle" in {keyword.arg for keyword in call.keywords}
        ]
    assert faults == []


def _reads_tensors_alone(name: str, call: ast.Call) -> bool:
    """Return whether it is torch's reader of a state dict, which builds nothing but tensors."""
    restricted = {keyword.arg for keyword in call.keywords if ast.unparse(keyword.value) == "True"}
    return name == "torch.load" and "weights_only" in restricted


def test_modules_stay_short() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in ALL_CODE}
    assert {_name(path): n for path, n in lines.items() if n > MAX_LINES} == {}


def test_exceptions_are_the_tree_that_their_docstring_draws() -> None:
    docstring = inspect.getdoc(mri_transfer.errors) or ""
    drawn: dict[str, str] = {}
    ancestors: list[str] = []
    for line in docstring.splitlines():
        found = re.search(r"(?:^ +|[├└]── )(\w+Error)\b", line)
        if found:
            branches = re.search(r"[├└]", line)
            depth = 0 if branches is None else (branches.start() - 4) // 4 + 1
            ancestors = [*ancestors[:depth], found[1]]
            drawn[found[1]] = ancestors[depth - 1] if depth else "Exception"
    defined = {
        name: item.__bases__[0].__name__
        for name, item in vars(mri_transfer.errors).items()
        if inspect.isclass(item) and issubclass(item, Exception)
    }
    assert len(defined) > 10
    assert drawn == defined


def test_exceptions_are_defined_in_one_place() -> None:
    faults: Faults = []
    for path in SHIPPED:
        if path.name == "errors.py":
            continue
        classes = [node for node in ast.walk(_tree(path)) if isinstance(node, ast.ClassDef)]
        bases = {ast.unparse(base) for node in classes for base in node.bases}
        found = [base for base in sorted(bases) if base.endswith(("Error", "Exception"))]
        faults += [f"{_name(path)}: {base}" for base in found]
    assert faults == []


def test_specs_are_frozen_and_take_keywords_only() -> None:
    faults: Faults = []
    for path in SHIPPED:
        for node in _public_definitions(_tree(path)):
            if not (isinstance(node, ast.ClassDef) and node.name.endswith(("Spec", "Config"))):
                continue
            spec = getattr(importlib.import_module(_name(path)), node.name)
            kinds = {one.kind for one in inspect.signature(spec).parameters.values()}
            if not spec.__dataclass_params__.frozen:
                faults.append(f"{_name(path)}: {node.name} is not frozen")
            if not kinds <= {inspect.Parameter.KEYWORD_ONLY}:
                faults.append(f"{_name(path)}: {node.name} takes positions")
    assert faults == []


def test_packages_say_that_they_are_typed() -> None:
    assert [package for package in PACKAGES if not (ROOT / package / "py.typed").is_file()] == []


def test_contracts_name_every_room_on_both_sides_of_the_leakage_line() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = {one["id"]: one for one in settings["tool"]["importlinter"]["contracts"]}
    line = contracts["leakage-line"]
    named = {*line["source_modules"], *line["forbidden_modules"]}
    rooms = [path.parent for path in (ROOT / "mri_transfer").glob("*/__init__.py")]
    # The cut goes through the models: there each part is named.
    rooms.remove(ROOT / "mri_transfer" / "models")
    parts = [
        *(ROOT / "mri_transfer").glob("[a-z]*.py"),
        *(ROOT / "mri_transfer" / "models").glob("[a-z]*.py"),
        *(path.parent for path in (ROOT / "mri_transfer" / "models").glob("*/__init__.py")),
    ]
    present = {_name(path.with_suffix(".py")) for path in (*rooms, *parts)}
    assert sorted(present - named) == []


def _extras(project: dict[str, Any]) -> list[str]:
    """Return what users install for a feature, as against what developers need."""
    extras = project["optional-dependencies"]
    return [text for name, texts in extras.items() if name != "dev" for text in texts]


def test_every_import_is_a_declared_dependency() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    declared = {
        re.split(r"[^\w.-]", text, maxsplit=1)[0].lower().replace("_", "-")
        for text in (*settings["project"]["dependencies"], *_extras(settings["project"]))
    }
    providers = importlib.metadata.packages_distributions()
    undeclared = {}
    for path in SHIPPED:
        for module in _imported(_tree(path)):
            top = module.partition(".")[0]
            if top in sys.stdlib_module_names or top in PACKAGES:
                continue
            names = {name.lower().replace("_", "-") for name in providers.get(top, [top])}
            if not names & declared:
                undeclared[module] = _name(path)
    assert undeclared == {}


def _heavy_after(script: str) -> list[str]:
    """Return the heavy packages that a script has imported when it ends."""
    shown = f"print(*sorted({set(HEAVY)!r} & {{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{script}\n{shown}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_nothing_heavy_is_imported_before_a_command_runs() -> None:
    assert _heavy_after("import pipelines.commands.cli") == []


def test_nothing_heavy_is_imported_to_read_a_configuration() -> None:
    read = "from pipelines.config import read_config; read_config(None, ['heads.kind=attention'])"
    assert _heavy_after(read) == []
