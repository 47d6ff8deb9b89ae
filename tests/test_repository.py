"""What a fresh clone promises: locked packages, one version, no data, two commands."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import mri_transfer

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCKS = ("requirements.lock", "benchmarks/requirements.lock", "container/requirements.lock")

TOP_LEVEL = {
    ".ci",
    ".dockerignore",
    ".gitignore",
    "CHANGELOG.md",
    "CITATION.cff",
    "Dockerfile",
    "LICENSE",
    "Makefile",
    "README.md",
    "benchmarks",
    "container",
    "data_manifests",
    "docs",
    "mri_transfer",
    "pipelines",
    "pyproject.toml",
    "reports",
    "requirements.lock",
    "tests",
}
#: Endings of scans, of arrays and of weights: none of them belongs into the repository.
DATA = re.compile(
    r"\.(dcm|gz|h5|hdr|img|mgh|mgz|mha|mhd|nii|npy|npz|nrrd|onnx|par|parquet|pkl|pt|pth|rec|"
    r"safetensors|tar|zip)$",
    re.IGNORECASE,
)
PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
MAX_BYTES = 2 * 10**6
#: Folders that exist only on the machine somebody worked on.
MACHINE_PATH = re.compile(r"(?<![\w.~<}*/-])/(?:home|opt|private|root|tmp|Users|work)/\w")
#: Hosts of package registries, put together so that this file does not name them either.
REGISTRY = re.compile(
    "|".join(
        re.escape(".".join(parts))
        for parts in (
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("npmjs", "org"),
            ("debian", "org"),
            ("download", "pytorch", "org"),
            ("conda", "anaconda", "org"),
        )
    )
)


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    """Files that git holds."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    done = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=True
    )
    files = [ROOT / name for name in done.stdout.split("\0") if name]
    return [file for file in files if file.is_file()]


def _pinned(lock: str) -> dict[str, list[str]]:
    """Each requirement of a lock with its hashes."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    entries: dict[str, list[str]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            requirement, *hashes = line.split("--hash=")
            entries[requirement.strip()] = [one.strip() for one in hashes]
    return entries


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_pins_every_package_to_a_version_and_hashes(lock: str) -> None:
    entries = _pinned(lock)
    assert len(entries) > 20
    for requirement, hashes in entries.items():
        assert re.match(r"[\w.\[\]-]+==[\w.!+]+( *;.*)?$", requirement), requirement
        assert hashes, f"{requirement} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), requirement


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert not re.search(r"^\s*-(?!-hash)", text, re.MULTILINE)
    assert not re.search(r"://| @ |file:", text)


def test_lock_holds_every_dependency_at_a_version_it_allows() -> None:
    pins: dict[str, list[Requirement]] = {}
    for line in _pinned("requirements.lock"):
        pin = Requirement(line)
        pins.setdefault(canonicalize_name(pin.name), []).append(pin)
    for text in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]:
        wanted = Requirement(text)
        for pin in pins[canonicalize_name(wanted.name)]:
            version = str(pin.specifier).removeprefix("==")
            assert wanted.specifier.contains(version, prereleases=True), f"{text}: {pin}"


def test_an_image_holds_the_locked_versions_and_no_tools_for_development() -> None:
    image, every = (
        {(pin := Requirement(line)).name: pin.specifier for line in _pinned(lock)}
        for lock in ("container/requirements.lock", "requirements.lock")
    )
    assert image.items() < every.items()
    wanted = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    assert wanted <= set(image)
    assert not {"mypy", "pytest", "ruff", "sphinx"} & set(image)


def test_all_ways_to_an_image_run_one_script_on_one_system() -> None:
    container = ROOT / "container"
    ways = [ROOT / "Dockerfile", container / "mri-transfer.def", container / "check_chroot.sh"]
    for way in ways:
        text = way.read_text(encoding="utf-8")
        assert "/src/container/install.sh /src" in text, way.name
        assert "apt-get install" not in text
        assert "pip install" not in text
    for way in ways[:2]:
        assert re.findall(r"debian:\S+", way.read_text(encoding="utf-8")) == [
            "debian:bookworm-slim"
        ]
    for script in container.glob("*.sh"):
        assert os.access(script, os.X_OK)
        subprocess.run(["bash", "-n", str(script)], check=True)


def test_both_kinds_of_image_are_built_from_the_same_files() -> None:
    definition = (ROOT / "container" / "mri-transfer.def").read_text(encoding="utf-8")
    copied = dict(re.findall(r"^    (\S+) /src/(\S+)$", definition, re.MULTILINE))
    assert list(copied) == list(copied.values())
    context = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert context[1] == "*"
    assert {line[1:].rstrip("/") for line in context if line.startswith("!")} == set(copied)
    # What the build of the package reads.
    assert {PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml"} <= set(copied)


def test_an_image_for_processors_leaves_out_pytorch_and_its_cuda_libraries_alone() -> None:
    script = (ROOT / "container" / "install.sh").read_text(encoding="utf-8")
    cuda = re.search(r"^cuda='(.*)'$", script, re.MULTILINE)
    assert cuda is not None
    found = {
        Requirement(line).name
        for line in _pinned("container/requirements.lock")
        if re.match(cuda[1], line)
    }
    assert {"torch", "torchvision", "triton", "nvidia-cublas", "cuda-toolkit"} <= found
    others = {name for name in found if not name.startswith(("cuda-", "nvidia-"))}
    assert others == {"torch", "torchvision", "triton"}


def test_torch_and_torchvision_are_a_matching_pair() -> None:
    pins = {Requirement(line).name: line for line in _pinned("requirements.lock")}
    torch = next(
        Requirement(text)
        for text in importlib.metadata.requires("torchvision") or ()
        if Requirement(text).name == "torch"
    )
    assert torch.specifier.contains(pins["torch"].partition("==")[2].split()[0])
    installed = importlib.metadata.version("torchvision").partition("+")[0]
    assert pins["torchvision"].startswith(f"torchvision=={installed}")


def test_version_is_the_same_everywhere() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    cited = re.search(r"^version: (\S+)$", citation, re.MULTILINE)
    assert cited is not None
    assert cited[1] == PROJECT["version"]
    assert mri_transfer.__version__ == PROJECT["version"]
    assert importlib.metadata.version("mri-transfer") == PROJECT["version"]


def test_changelog_has_a_place_for_what_is_not_released() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert headings[0] == "Unreleased"


def test_only_expected_entries_lie_at_the_top(tracked: list[Path]) -> None:
    found = {file.relative_to(ROOT).parts[0] for file in tracked}
    assert sorted(found - TOP_LEVEL) == []


@pytest.mark.parametrize("name", sorted(TOP_LEVEL - {"docs"}))
def test_expected_entries_exist(name: str) -> None:
    assert (ROOT / name).exists()


def test_no_scan_array_or_weights_are_tracked(tracked: list[Path]) -> None:
    found = [file for file in tracked if DATA.search(file.name)]
    assert found == []


def test_pictures_lie_only_in_documentation_and_example_report(tracked: list[Path]) -> None:
    pictures = [file.relative_to(ROOT) for file in tracked if file.suffix.lower() in PICTURES]
    assert [str(file) for file in pictures if file.parts[0] not in ("docs", "reports")] == []


def test_files_stay_small(tracked: list[Path]) -> None:
    large = [
        str(file.relative_to(ROOT))
        for file in tracked
        if file.stat().st_size > (4 if file.is_relative_to(ROOT / "reports") else 1) * MAX_BYTES
    ]
    assert large == []


def test_example_reports_are_of_synthetic_patients(tracked: list[Path]) -> None:
    pages = [
        file for file in tracked if file.is_relative_to(ROOT / "reports") and file.suffix == ".html"
    ]
    for page in pages:
        assert "synthetic" in page.read_text(encoding="utf-8").lower(), page.name


def test_text_names_no_machine_and_no_registry(tracked: list[Path]) -> None:
    found = []
    for file in tracked:
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for pattern in (MACHINE_PATH, REGISTRY):
            found += [f"{file.relative_to(ROOT)}: {one[0]}" for one in pattern.finditer(text)]
    assert found == []


@pytest.mark.parametrize(
    "name", ["demo/x", ".venv/x", "cohort/sub-1_T1w.nii.gz", "sub-1_T1w.nii", "build/x"]
)
def test_git_ignores_what_a_run_leaves_behind(name: str) -> None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    done = subprocess.run(["git", "-C", str(ROOT), "check-ignore", "-q", name], check=False)
    assert done.returncode == 0


def test_ci_runs_the_command_of_the_readme() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").splitlines()[-1] == "make test test-all"
    subprocess.run(["bash", "-n", str(script)], check=True)


def _make(
    folder: Path, *arguments: str, python: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Call make as a person would, not as a part of the make that runs these tests."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    clean = {
        name: value
        for name, value in os.environ.items()
        if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PYTHON")
    }
    named = [] if python is None else [f"PYTHON={python}"]
    return subprocess.run(
        ["make", "-C", str(folder), *arguments, *named],
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with what the set-up reads, the stamps of a finished set-up, all of one moment."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv").mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        os.utime(tmp_path / name, (1000, 1000))
    for i, name in enumerate((".packages", ".installed")):
        (tmp_path / ".venv" / name).touch()
        os.utime(tmp_path / ".venv" / name, (2000 + i, 2000 + i))
    return tmp_path


def _fake_python(folder: Path, *, fit: bool) -> Path:
    """A Python that makes environments in which pip fails, or one of an unfit version."""
    fake = folder / "fake_python"
    fake.write_text(
        "#!/bin/sh\n"
        f'[ "$1" = -c ] && exit {0 if fit else 1}\n'
        'for last; do :; done\nmkdir -p "$last/bin"\n'
        'printf "#!/bin/sh\\nexit 1\\n" > "$last/bin/python"\nchmod +x "$last/bin/python"\n',
        encoding="utf-8",
    )
    fake.chmod(0o755)
    return fake


@pytest.mark.parametrize("goals", [["test"], ["test-all"], ["test", "test-all"]], ids=" ".join)
def test_make_runs_every_check_and_every_test_once(clone: Path, goals: list[str]) -> None:
    plan = _make(clone, "--dry-run", *goals)
    assert plan.returncode == 0, plan.stderr
    for part in ("ruff check", "ruff format --check", "mypy", "lint-imports", '-m "not slow"'):
        assert plan.stdout.count(part) == 1, part
    assert plan.stdout.count("-m slow") == ("test-all" in goals)


@pytest.mark.parametrize("target", ["demo", "test"])
def test_a_second_call_sets_nothing_up(clone: Path, target: str) -> None:
    plan = _make(clone, "--dry-run", target)
    assert plan.returncode == 0, plan.stderr
    assert "install" not in plan.stdout
    assert "venv --clear" not in plan.stdout


def test_a_new_lock_makes_the_environment_anew(clone: Path) -> None:
    (clone / "requirements.lock").touch()
    plan = _make(clone, "--dry-run", "demo").stdout
    assert "venv --clear" in plan
    assert "--require-hashes -r requirements.lock" in plan


def test_a_changed_project_file_only_installs_the_project_again(clone: Path) -> None:
    (clone / "pyproject.toml").touch()
    plan = _make(clone, "--dry-run", "demo").stdout
    assert "--editable ." in plan
    assert "venv --clear" not in plan


def test_an_interrupted_set_up_leaves_no_stamp(clone: Path) -> None:
    shutil.rmtree(clone / ".venv")
    done = _make(clone, "demo", python=_fake_python(clone, fit=True))
    assert done.returncode != 0
    assert (clone / ".venv" / "bin" / "python").exists()
    assert not (clone / ".venv" / ".packages").exists()
    assert not (clone / ".venv" / ".installed").exists()


def test_an_unfit_python_is_refused_in_words(clone: Path) -> None:
    shutil.rmtree(clone / ".venv")
    done = _make(clone, "test", python=_fake_python(clone, fit=False))
    assert done.returncode != 0
    assert "needs Python 3.11" in done.stderr
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize("target", ["bench", "lock", "clean"])
def test_make_knows_the_other_targets(clone: Path, target: str) -> None:
    (clone / "benchmarks").mkdir()
    (clone / "benchmarks" / "requirements.lock").touch()
    done = _make(clone, "--dry-run", target)
    assert done.returncode == 0, done.stderr
