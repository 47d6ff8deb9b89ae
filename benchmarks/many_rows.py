"""Time and memory of every stage by the number of scans, from 500 to 50,000 made-up ones.

Scans, preparation, slices and features are in the cache already (`benchmarks._made_up`), so that
what is measured is the work on rows: reading and verifying the cache, duplicates, folds, heads,
evaluation, audit, neighbours and report. Each stage runs in a process of its own.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks._common import (
    Measured,
    Target,
    argument_parser,
    finish,
    measured_command,
    show_table,
)
from benchmarks._made_up import fill, write_manifest
from pipelines.config import RunConfig, read_config
from pipelines.names import STAGE_HELP
from pipelines.runner import begin_run

__all__ = ["main"]

#: What cannot be made up: whatever passes slices through the trunk. The profile is that of a first
#: look, which has no search and five permutations.
SETTINGS = (
    "profile=quick",
    "slices.size_px=32",
    "features.precision=fp32",
    "features.device=cpu",
    "audit.recomputed_patients=0",
    "explanation.maps=false",
    "explanation.close_patients=0",
)


def measure(folder: Path, n: int, config: RunConfig) -> dict[str, Measured]:
    """Take so many scans through every stage."""
    run, cache = folder / f"run{n}", folder / "cache"
    begin_run(write_manifest(folder, n), run, config, cache=cache)
    found = {}
    for stage in STAGE_HELP:
        found[stage] = measured_command(stage, str(run), "--cache", str(cache))
        one = found[stage]
        print(
            f"{n} scans, {stage}: {one.seconds:.1f} s, {one.cpu_s:.1f} s of processor time, "
            f"{one.peak_gb:.2f} GB",
            flush=True,
        )
    return found


def report_megabytes(run: Path) -> dict[str, float]:
    """Return the size of a report, in 10^6 bytes: its page, all files, and the largest page."""
    folder = run / "report"
    sizes = {path: path.stat().st_size / 1e6 for path in folder.rglob("*") if path.is_file()}
    return {
        "index.html": sizes[folder / "index.html"],
        "default pages": sum(size for path, size in sizes.items() if path.parent == folder),
        "all files": sum(sizes.values()),
        "quality index": (run / "quality" / "index.html").stat().st_size / 1e6,
    }


def growth(found: Mapping[int, Mapping[str, Measured]], stage: str) -> float:
    """Return the exponent of processor time between the two largest numbers of scans."""
    few, many = sorted(found)[-2:]
    return math.log(found[many][stage].cpu_s / found[few][stage].cpu_s) / math.log(many / few)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, show and write."""
    parser = argument_parser(__doc__ or "")
    parser.add_argument("--rows", type=int, nargs="+", default=(500, 2000), metavar="N")
    parser.add_argument("--set", action="append", default=[], help="as of `mri-transfer run`")
    parser.add_argument("--folder", type=Path, help="keep cohorts and runs there")
    arguments = parser.parse_args(argv)
    config = read_config(None, [*SETTINGS, *arguments.set])
    with tempfile.TemporaryDirectory() as name:
        folder = (arguments.folder or Path(name)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        fill(folder, max(arguments.rows), config)
        found = {n: measure(folder, n, config) for n in sorted(arguments.rows)}
        sizes = {n: report_megabytes(folder / f"run{n}") for n in found}
    largest = max(found)
    several = len(found) > 1
    show_table(
        "Seconds (processor seconds; GB)",
        ["stage", *(f"{n} scans" for n in found), *(["growth"] if several else [])],
        [
            [
                stage,
                *(
                    f"{one[stage].seconds:.1f} ({one[stage].cpu_s:.1f}; {one[stage].peak_gb:.2f})"
                    for one in found.values()
                ),
                *([f"n^{growth(found, stage):.2f}"] if several else []),
            ]
            for stage in STAGE_HELP
        ],
    )
    show_table(
        "Report, MB",
        ["files", *(f"{n} scans" for n in sizes)],
        [[what, *(f"{one[what]:.1f}" for one in sizes.values())] for what in sizes[largest]],
    )
    finish(
        "many_rows",
        out=arguments.out,
        figures={
            "stages": {
                str(n): {stage: dataclasses.asdict(one) for stage, one in of_n.items()}
                for n, of_n in found.items()
            },
            "report_mb": {str(n): one for n, one in sizes.items()},
        },
        targets=[
            Target(
                name=f"minutes, check to report, {largest} scans",
                value=sum(one.seconds for one in found[largest].values()) / 60,
                limit=30,
                at_least=False,
            ),
            Target(
                name="largest peak, GB",
                value=max(one.peak_gb for one in found[largest].values()),
                limit=6,
                at_least=False,
            ),
            Target(
                name="default pages of the report, MB",
                value=sizes[largest]["default pages"],
                limit=15,
                at_least=False,
            ),
        ],
    )


if __name__ == "__main__":
    main()
