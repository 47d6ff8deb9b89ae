"""Processor time until a command says what is wrong, or that there is nothing to do.

Each command runs in a process of its own, as from the shell; the least processor time (user and
system) of several rounds counts, since that does not depend on what else the machine does. The
import of torch alone is measured in the same rounds, for comparison.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks._common import Target, argument_parser, finish, show_table
from mri_transfer.cohorts.readers.bids.reader import read_bids_cohort
from mri_transfer.cohorts.synthetic.cohort import DemoSpec, grow_demo_cohort

__all__ = ["main"]

#: Settings that make a run quick to make; what is measured afterwards does no work.
_SMALL = (
    "profile=quick",
    "preparation.scans=none",
    "trunk.weights=random",
    "slices.n_slices=4",
    "slices.size_px=32",
    "folds.n_folds=2",
    "folds.n_inner_folds=2",
)
_STAGES = ("check", "prepare", "slices", "features", "folds", "train")
_HELP_S, _REFUSAL_S, _CURRENT_S = 0.3, 1.0, 2.0


def processor_s(command: Sequence[str], *, expected: int) -> float:
    """Return the processor time of a command, in seconds.

    Raises
    ------
    RuntimeError
        If it ends with another exit code than the one expected.
    """
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        message = process.stderr.read().decode()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != expected:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {message}")
    return used.ru_utime + used.ru_stime


def _commands(folder: Path, manifest: Path) -> dict[str, tuple[list[str], int, float]]:
    """Return for each case the words of the command, its exit code and the limit in seconds."""
    run, cache, none = folder / "run", str(folder / "cache"), str(folder / "none")
    new = ["run", "--manifest", str(manifest), "--out", none]
    refused = {
        "a setting that there is not": ([*new, "--set", "heads.kin=linear"], 2),
        "a stage that there is not": ([*new, "--until", "featurs"], 2),
        "a manifest that is missing": (["run", "--manifest", none, "--out", none], 1),
        "a run that is missing": (["train", none], 1),
        "a command that there is not": (["trian", none], 2),
        "a bundle that is missing": (["predict", none, none], 2),
        "a run to refit that is missing": (["retrain", none, "--out", none], 1),
    }
    return {
        "--help": (["--help"], 0, _HELP_S),
        "run --help": (["run", "--help"], 0, _HELP_S),
        **{name: (words, code, _REFUSAL_S) for name, (words, code) in refused.items()},
        **{
            f"{stage}, nothing to do": ([stage, str(run), "--cache", cache], 0, _CURRENT_S)
            for stage in _STAGES
        },
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, show and write."""
    parser = argument_parser(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args(argv)
    program = [sys.executable, "-m", "pipelines.commands.cli"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cohort = grow_demo_cohort(
            folder / "cohort", spec=DemoSpec(n_patients=8, spacing_mm=5, two_session_fraction=0.25)
        )
        manifest = folder / "manifest.csv"
        read_bids_cohort(cohort).manifest.write(manifest)
        made = [*program, "run", "--manifest", str(manifest), "--out", str(folder / "run")]
        made += ["--cache", str(folder / "cache"), "--until", "train"]
        for setting in _SMALL:
            made += ["--set", setting]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
        commands = _commands(folder, manifest)
        torch_s, seconds = [], {case: [] for case in commands}
        for _ in range(arguments.rounds):
            torch_s.append(processor_s([sys.executable, "-c", "import torch"], expected=0))
            for case, (words, code, _) in commands.items():
                seconds[case].append(processor_s([*program, *words], expected=code))
    least = {case: min(values) for case, values in seconds.items()}
    show_table(
        "Processor time of a command, least of the rounds",
        ["", "seconds", "of import torch"],
        [
            [case, f"{value:.2f}", f"{value / min(torch_s):.2f}"]
            for case, value in {**least, "import torch": min(torch_s)}.items()
        ],
    )
    finish(
        "starting",
        out=arguments.out,
        figures={"seconds": least, "import_torch_s": min(torch_s)},
        targets=[
            Target(name=case, value=least[case], limit=limit, at_least=False)
            for case, (_, _, limit) in commands.items()
        ],
    )


if __name__ == "__main__":
    main()
