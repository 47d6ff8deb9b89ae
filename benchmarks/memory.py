"""Peak memory of every stage, for a small cohort and for one three times as large.

Each stage runs as a process of its own, the way a batch system would call it, and the operating
system says how much memory it held at its peak.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks._cohort import SHAPE, write_cohort
from benchmarks._common import Target, argument_parser, finish, show_table
from pipelines.config import read_config
from pipelines.names import STAGE_HELP
from pipelines.runner import begin_run

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]


#: Runs a command and says its peak memory. A process of its own and a small one, since a child
#: is charged with what its parent held when it was started.
_WATCHER = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
if done.returncode:
    sys.exit(done.stdout[-2000:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def stage_peak_gb(stage: str, run: Path, cache: Path) -> float:
    """Run a stage in a process of its own; return its peak resident memory in 10^9 bytes.

    Raises
    ------
    RuntimeError
        If the stage fails, with what it said.
    """
    command = [
        sys.executable,
        "-m",
        "pipelines.commands.cli",
        stage,
        str(run),
        "--cache",
        str(cache),
    ]
    done = subprocess.run(
        [sys.executable, "-c", _WATCHER, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{stage} failed:\n{done.stderr}")
    # Linux counts kilobytes of 1024, macOS bytes.
    return int(done.stdout) * (1 if sys.platform == "darwin" else 1024) / 1e9


def measure(n_patients: int, folder: Path, config: Path | None) -> dict[str, float]:
    """Take a cohort through every stage, from an empty cache."""
    cohort = folder / f"cohort{n_patients}"
    manifest = write_cohort(cohort, n_patients)
    run, cache = cohort / "run", cohort / "cache"
    begin_run(manifest, run, read_config(config), cache=cache)
    return {stage: stage_peak_gb(stage, run, cache) for stage in STAGE_HELP}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, show and write."""
    parser = argument_parser(__doc__ or "")
    parser.add_argument("--patients", type=int, nargs=2, default=(20, 60), metavar="N")
    parser.add_argument("--config", type=Path, help="as of `mri-transfer run`")
    arguments = parser.parse_args(argv)
    few, many = arguments.patients
    with tempfile.TemporaryDirectory() as name:
        peaks = {n: measure(n, Path(name), arguments.config) for n in (few, many)}
    rows = [
        [
            stage,
            f"{peaks[few][stage]:.2f}",
            f"{peaks[many][stage]:.2f}",
            f"{(peaks[many][stage] - peaks[few][stage]) / (many - few) * 1e3:+.1f}",
        ]
        for stage in peaks[few]
    ]
    show_table(
        f"Peak memory, scans of {' x '.join(map(str, SHAPE))} voxels",
        ["stage", f"{few} patients, GB", f"{many} patients, GB", "MB a patient"],
        rows,
    )
    growth = {stage: peaks[many][stage] / peaks[few][stage] for stage in peaks[few]}
    finish(
        "memory",
        out=arguments.out,
        figures={"peak_gb": {str(n): peaks[n] for n in peaks}, "growth": growth},
        targets=[
            Target(
                name="largest peak, GB",
                value=max(peaks[many].values()),
                limit=3,
                at_least=False,
            ),
            Target(
                name=f"largest growth from {few} to {many} patients",
                value=max(growth.values()),
                limit=1.1,
                at_least=False,
            ),
        ],
    )


if __name__ == "__main__":
    main()
