"""Peak memory of every stage, for a small cohort and for one three times as large.

Each stage runs as a process of its own, the way a batch system would call it, and the operating
system says how much memory it held at its peak.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks._cohort import SHAPE, write_cohort
from benchmarks._common import (
    Target,
    argument_parser,
    finish,
    measured_command,
    show_table,
)
from pipelines.config import read_config
from pipelines.names import STAGE_HELP
from pipelines.runner import begin_run

__all__ = ["main"]


def measure(n_patients: int, folder: Path, config: Path | None) -> dict[str, float]:
    """Take a cohort through every stage, from an empty cache."""
    cohort = folder / f"cohort{n_patients}"
    manifest = write_cohort(cohort, n_patients)
    run, cache = cohort / "run", cohort / "cache"
    begin_run(manifest, run, read_config(config), cache=cache)
    return {
        stage: measured_command(stage, str(run), "--cache", str(cache)).peak_gb
        for stage in STAGE_HELP
    }


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
