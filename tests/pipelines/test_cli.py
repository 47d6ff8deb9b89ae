"""The command, as a person meets it: help, exit codes, messages."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pipelines.commands.cli import app
from pipelines.names import STAGE_HELP
from pipelines.plan.order import STAGES
from pipelines.runner import RunOutcome
from tests.pipelines.conftest import SmallJob, run_command

README = Path(__file__).resolve().parents[2] / "README.md"


def _run(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines.commands.cli", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(README.parent)},
        check=False,
    )


def _commands() -> list[list[str]]:
    group = typer.main.get_command(app)
    found: list[list[str]] = []
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        found.append([name])
        found += [[name, inner] for inner in getattr(command, "commands", {})]
    return found


@pytest.mark.parametrize("command", [[], *_commands()], ids=" ".join)
def test_every_command_explains_itself_and_each_of_its_options(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "-h, --help" in result.output
    for line in re.findall(r"^ {2}-[^\n]+(?:\n {4,}[^\n]+)*", result.output, re.M):
        words = re.sub(r"\s+", " ", line).split(" ")
        assert len(words) > 3, f"no help for {line.strip()}"


def _options(*command: str) -> dict[str, str]:
    """Return a command's options with their help."""
    found = typer.main.get_command(app)
    for name in command:
        found = found.commands[name]  # type: ignore[attr-defined]
    return {
        name: str(one.help) for one in found.params for name in one.opts if hasattr(one, "help")
    }


def test_one_letter_asks_for_help_of_every_command() -> None:
    for command in ([], ["run"], ["manifest", "csv"]):
        assert CliRunner().invoke(app, [*command, "-h"]).output.startswith("Usage:")


def test_out_has_one_meaning_and_a_default_everywhere() -> None:
    helps = {}
    for command in _commands():
        options = _options(*command)
        if "--out" in options:
            helps[" ".join(command)] = options["--out"]
            asked = CliRunner().invoke(app, [*command, "--help"]).output
            assert re.search(r"--out .*?\[default:\s+[\w.]+\]", asked, re.S), command
    files = ("manifest", "pretrain")
    folders = {text for name, text in helps.items() if not name.startswith(files)}
    assert folders == {"Folder to write to; created if missing."}
    assert len(helps) >= 13


def test_options_are_offered_where_they_act() -> None:
    with_weights = {name for name in STAGE_HELP if "--weights" in _options(name)}
    assert with_weights == {"features", "train", "audit", "explain"}
    with_jobs = {name for name in STAGE_HELP if "--jobs" in _options(name)}
    assert with_jobs == set(STAGE_HELP) - {"folds", "report"}
    assert all("--quiet" in _secondary(name) for name in STAGE_HELP)


def _secondary(command: str) -> set[str]:
    found = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    return {name for one in found.params for name in one.secondary_opts}


def test_shells_complete_settings_and_stages() -> None:
    def completed(*words: str) -> list[str]:
        code = "import sys; sys.argv[0] = 'mri-transfer'; from pipelines.commands import cli"
        line = " ".join(["mri-transfer", *words])
        done = subprocess.run(
            [sys.executable, "-c", f"{code}; cli.main()"],
            env={
                **os.environ,
                "PYTHONPATH": str(README.parent),
                "_MRI_TRANSFER_COMPLETE": "complete_bash",
                "COMP_WORDS": line,
                "COMP_CWORD": str(len(words)),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.split()

    assert completed("run", "--set", "folds.n_f") == ["folds.n_folds="]
    assert completed("run", "--from", "e") == ["evaluate", "explain"]


def test_the_report_is_opened_in_a_browser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = []
    monkeypatch.setattr(typer, "launch", lambda url: opened.append(url) or 0)
    assert run_command("open", str(tmp_path)) == 1
    assert "mri-transfer report" in capsys.readouterr().err
    page = tmp_path / "a run" / "report" / "index.html"
    page.parent.mkdir(parents=True)
    page.touch()
    assert run_command("open", str(tmp_path / "a run")) == 0
    assert opened == [page.as_uri()]
    assert capsys.readouterr().out.strip() == page.as_uri()
    assert run_command("open", str(tmp_path / "a run"), "--print") == 0
    assert len(opened) == 1


def test_every_command_of_the_design_is_there() -> None:
    names = {" ".join(command) for command in _commands()}
    wanted = {"demo", "run", "doctor", "manifest bids", "manifest csv", *STAGE_HELP}
    assert wanted <= names


def test_stages_are_those_that_help_names_in_the_same_order() -> None:
    assert [stage.name for stage in STAGES] == list(STAGE_HELP)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, pipelines.commands.cli\n"
        "heavy = {'torch', 'monai', 'pandas', 'numpy', 'sklearn', 'matplotlib', 'pydantic'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["run", "--frobnicate"], 2, "No such option"),
        (["run", "--manifest", "m.csv", "--out", "r", "--profile", "fast"], 2, "'fast'"),
        (
            ["run", "--manifest", "m.csv", "--out", "r", "--set", "search.space.heads.zonse=[1]"],
            2,
            "zonse",
        ),
        (
            ["run", "--manifest", "m.csv", "--out", "r", "--set", "search.space.slices.n=[1]"],
            2,
            "slices.n",
        ),
        (
            ["run", "--manifest", "m.csv", "--out", "r", "--set", "predictions.targets=['best']"],
            2,
            "best",
        ),
        (
            ["run", "--manifest", "m.csv", "--out", "r", "--set", "labels.classes=['CN','AD']"],
            2,
            "three or more",
        ),
        (["run", "--manifest", "m.csv", "--out", "r", "--set", "folds.k=3"], 2, "no such setting"),
        (["run", "--manifest", "m.csv", "--out", "r", "--from", "bake"], 2, "no such stage"),
        (["run", "--manifest", "m.csv", "--out", "r", "--config", "none.toml"], 2, "cannot read"),
        (["manifest", "csv", "m.csv", "--out", "x.csv", "--column", "a"], 2, "THEIRS=OURS"),
        (["run", "--manifest", "none.csv", "--out", "r"], 1, "none.csv"),
        (["run", "--manifest", "m.csv", "--out", "m.csv"], 2, "a file, not a folder"),
        (["train", "nowhere"], 1, "not a run folder"),
        (["retrain", "r", "--mode", "warm", "--jobs", "2"], 2, "--mode, --jobs"),
        (["export-slices", "nowhere"], 2, "--png"),
        (["folds", "nowhere", "--jobs", "2"], 2, "No such option"),
        (["manifest", "bids", "nowhere", "--out", "x.csv"], 1, "nowhere"),
    ],
)
def test_wrong_use_gets_a_message_and_its_exit_code(
    words: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "m.csv").write_text("patient_id,path\na,a.nii\n")
    monkeypatch.chdir(tmp_path)
    assert run_command(*words) == code
    said = capsys.readouterr().err
    # A terminal's frame may break a message anywhere.
    assert re.sub(r"\s", "", message) in re.sub(r"[\s│]", "", said)
    assert "Traceback" not in said


def test_the_command_itself_ends_with_the_code_and_no_traceback(tmp_path: Path) -> None:
    result = _run("run", "--manifest", "m.csv", "--out", "r", "--set", "folds.k=3", cwd=tmp_path)
    assert result.returncode == 2
    assert "no such setting" in result.stderr
    assert "Traceback" not in result.stderr


def test_excluded_scans_are_printed_and_end_with_3(
    small_job: SmallJob,
    finished: RunOutcome,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(small_job.cohort, tmp_path / "cohort")
    scan = sorted((tmp_path / "cohort").rglob("*_ses-*.nii.gz"))[0]  # its patient has another
    scan.write_bytes(b"not a scan")
    # The other scans have been prepared: that is not the matter here.
    monkeypatch.setenv("MRI_TRANSFER_CACHE", str(finished.workspace.cache))
    monkeypatch.chdir(tmp_path)
    assert run_command("manifest", "bids", "cohort", "--out", "m.csv") == 0
    settings = [part for setting in small_job.settings for part in ("--set", setting)]
    capsys.readouterr()
    assert run_command("run", "--manifest", "m.csv", "--out", "run", *settings) == 3
    said = capsys.readouterr().out
    assert "1 scan" in said
    assert scan.name.removesuffix("_T1w.nii.gz") in said
    assert "Report:" in said
    assert "of the audit failed" not in said


@pytest.mark.slow
def test_the_commands_of_the_readme_run(
    small_job: SmallJob,
    finished: RunOutcome,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every `mri-transfer` line of the README's walk-through, in order, on a small cohort."""
    text = README.read_text(encoding="utf-8")
    block = re.search(r"<!-- walk-through -->\s*```sh\n(.*?)```", text, re.S)
    assert block is not None
    lines = [line.split("  #")[0] for line in block[1].splitlines() if line.strip()]
    assert len(lines) >= 5
    shutil.copytree(small_job.cohort, tmp_path / "cohort")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MRI_TRANSFER_CACHE", str(finished.workspace.cache))
    for line in lines:
        name, *words = shlex.split(line)
        assert name == "mri-transfer"
        if words[0] == "run":
            words += [part for setting in small_job.settings for part in ("--set", setting)]
        # A bundle of eight patients abstains from some of them.
        expected = (0, 3) if words[0] == "predict" else (0,)
        assert run_command(*words) in expected, f"{line}\n{capsys.readouterr()}"
