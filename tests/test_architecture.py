"""What the code promises about its own shape, read from the source and from the import graph."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.metadata
import inspect
import io
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

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
HEAVY = ("matplotlib", "monai", "nibabel", "nilearn", "pandas", "scipy", "sklearn", "torch")


def _files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


LIBRARY = _files("mri_transfer")
SHIPPED = _files(*PACKAGES)
ALL_CODE = _files(*PACKAGES, "benchmarks")

each_library_file = pytest.mark.parametrize("path", LIBRARY, ids=_name)
each_shipped_file = pytest.mark.parametrize("path", SHIPPED, ids=_name)
each_file = pytest.mark.parametrize("path", ALL_CODE, ids=_name)


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


def _is_command(node: ast.FunctionDef | ast.ClassDef) -> bool:
    """Whether a decorator hands the function to the command line, which then owns it."""
    return any(".command(" in ast.unparse(decorator) for decorator in node.decorator_list)


@each_shipped_file
def test_all_names_exist_and_public_definitions_are_in_all(path: Path) -> None:
    if path.name == "__main__.py":
        pytest.skip("a script, not an interface")
    module: ModuleType = importlib.import_module(_name(path))
    defined = [node.name for node in _public_definitions(_tree(path)) if not _is_command(node)]
    declared = getattr(module, "__all__", None)
    if declared is None:
        assert not defined, f"{_name(path)} has public definitions and no __all__"
        return
    assert [name for name in declared if not hasattr(module, name)] == []
    assert len(set(declared)) == len(declared)
    assert sorted(set(defined) - set(declared)) == []


@each_shipped_file
def test_public_functions_classes_and_methods_have_docstrings(path: Path) -> None:
    bare = []
    tree = _tree(path)
    if path.stat().st_size and not ast.get_docstring(tree):
        bare.append("the module")
    for node in _public_definitions(tree):
        members = node.body if isinstance(node, ast.ClassDef) else []
        methods = [
            item
            for item in members
            if isinstance(item, ast.FunctionDef) and not item.name.startswith("_")
        ]
        bare += [item.name for item in [node, *methods] if not ast.get_docstring(item)]
    assert bare == []


@each_library_file
def test_library_neither_prints_nor_reads_the_command_line(path: Path) -> None:
    tree = _tree(path)
    calls = {name for name, _ in _calls(tree)}
    assert not calls & {"print", "input", "sys.exit", "exit"}
    assert not {name.partition(".")[0] for name in _imported(tree)} & {
        "argparse",
        "click",
        "optparse",
        "typer",
    }
    assert "sys.argv" not in ast.unparse(tree)


@each_shipped_file
def test_nothing_hangs_on_the_state_of_the_process(path: Path) -> None:
    calls = {name for name, _ in _calls(_tree(path))}
    assert sorted(calls & HIDDEN_STATE) == []
    legacy = re.compile(r"numpy\.random\.(?!default_rng$|Generator$|SeedSequence$|[A-Z])\w+$")
    assert [name for name in sorted(calls) if legacy.match(name)] == []


@each_file
def test_no_file_is_read_that_could_run_code(path: Path) -> None:
    tree = _tree(path)
    assert not {name.partition(".")[0] for name in _imported(tree)} & UNSAFE_MODULES
    for name, call in _calls(tree):
        assert name not in UNSAFE_CALLS, f"line {call.lineno}"
        assert not name.endswith(".to_pickle"), f"line {call.lineno}"
        assert "allow_pickle" not in {keyword.arg for keyword in call.keywords}, (
            f"line {call.lineno}"
        )


@each_file
def test_modules_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


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


@each_shipped_file
def test_exceptions_are_defined_in_one_place(path: Path) -> None:
    if path.name == "errors.py":
        pytest.skip("the place")
    classes = [node for node in ast.walk(_tree(path)) if isinstance(node, ast.ClassDef)]
    bases = {ast.unparse(base) for node in classes for base in node.bases}
    assert [base for base in sorted(bases) if base.endswith(("Error", "Exception"))] == []


@each_shipped_file
def test_specs_are_frozen_and_take_keywords_only(path: Path) -> None:
    module = importlib.import_module(_name(path))
    for node in _public_definitions(_tree(path)):
        if isinstance(node, ast.ClassDef) and node.name.endswith(("Spec", "Config")):
            spec = getattr(module, node.name)
            assert spec.__dataclass_params__.frozen, node.name
            kinds = {one.kind for one in inspect.signature(spec).parameters.values()}
            assert kinds <= {inspect.Parameter.KEYWORD_ONLY}, node.name


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_say_that_they_are_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def test_import_contracts_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlinter.cli import lint_imports

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])
    with contextlib.redirect_stdout(io.StringIO()) as output:
        status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert status == 0, output.getvalue()


def test_contracts_name_every_module_on_both_sides_of_the_leakage_line() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = {one["id"]: one for one in settings["tool"]["importlinter"]["contracts"]}
    line = contracts["leakage-line"]
    named = {*line["source_modules"], *line["forbidden_modules"]}
    present = {f"mri_transfer.{path.stem}" for path in (ROOT / "mri_transfer").glob("[a-z]*.py")}
    present |= {
        f"mri_transfer.{path.parent.name}"
        for path in LIBRARY
        if path.stem == "__init__" and path.parent.parent.name == "mri_transfer"
    }
    present -= {"mri_transfer.mri_transfer"}
    assert sorted(present - named) == []


def test_every_import_is_a_declared_dependency() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    declared = {
        re.split(r"[^\w.-]", text, maxsplit=1)[0].lower().replace("_", "-")
        for text in settings["project"]["dependencies"]
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


def test_nothing_heavy_is_imported_before_a_command_runs() -> None:
    script = (
        "import sys, pipelines.cli\n"
        f"print(*sorted(set({HEAVY!r}) & {{name.partition('.')[0] for name in sys.modules}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []
