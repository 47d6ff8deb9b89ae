"""Share of the features stage's time in which the trunk does not compute.

The stage reads slices, passes them through the trunk and writes features; reading and writing are
meant to happen while the trunk computes. The time inside the trunk is measured where it is called.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks._cohort import write_cohort
from benchmarks._common import Target, argument_parser, finish, show_table
from mri_transfer.models.trunks import Trunk
from pipelines.config import read_config
from pipelines.plan.scans import CHECK, FEATURES, SLICES
from pipelines.reporters import SilentReporter
from pipelines.runner import begin_run
from pipelines.stage import Context

__all__ = ["main"]


@contextmanager
def time_in_trunk() -> Iterator[list[float]]:
    """Collect the seconds of every pass through a trunk."""
    seconds: list[float] = []
    plain = Trunk.forward_slices

    def timed(self: Trunk, pixels: torch.Tensor) -> torch.Tensor:
        begin = time.perf_counter()
        maps = plain(self, pixels)
        seconds.append(time.perf_counter() - begin)
        return maps

    Trunk.forward_slices = timed  # type: ignore[method-assign]
    try:
        yield seconds
    finally:
        Trunk.forward_slices = plain  # type: ignore[method-assign]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, show and write."""
    parser = argument_parser(__doc__ or "")
    parser.add_argument("--patients", type=int, default=20)
    arguments = parser.parse_args(argv)
    config = read_config(None)
    with tempfile.TemporaryDirectory() as name:
        manifest = write_cohort(Path(name) / "cohort", arguments.patients)
        workspace = begin_run(manifest, Path(name) / "run", config, cache=Path(name) / "cache")
        context = Context(workspace=workspace, config=config, reporter=SilentReporter())
        CHECK.work(context)
        SLICES.work(context)
        with time_in_trunk() as passes:
            begin = time.perf_counter()
            FEATURES.work(context)
            wall = time.perf_counter() - begin
    trunk = sum(passes)
    n_slices = arguments.patients * config.slices.n_slices
    show_table(
        f"Features stage: {arguments.patients} scans, {n_slices} slices of "
        f"{config.slices.size_px} px, empty cache",
        ["", "seconds", "share"],
        [
            ["whole stage, loading the weights included", f"{wall:.2f}", "1.00"],
            ["inside the trunk", f"{trunk:.2f}", f"{trunk / wall:.3f}"],
            ["outside the trunk", f"{wall - trunk:.2f}", f"{1 - trunk / wall:.3f}"],
        ],
    )
    finish(
        "features_overhead",
        out=arguments.out,
        figures={"wall_s": wall, "trunk_s": trunk, "passes": len(passes), "n_slices": n_slices},
        targets=[
            Target(
                name="share outside the trunk", value=1 - trunk / wall, limit=0.1, at_least=False
            )
        ],
    )


if __name__ == "__main__":
    main()
