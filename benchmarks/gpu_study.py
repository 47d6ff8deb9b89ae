"""The study of strategies at 224 px on one GPU, in about 8 minutes.

It runs `mri-transfer study` with the settings that the processor's study of 96 px had, at full
size: arms in order of their estimated cost, as long as the budget lasts. What did not fit is listed
as such, and the same command with `--minutes` raised goes on from there. `--device cpu --size-px
48` walks through the same steps without a GPU.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from mri_transfer.errors import MriTransferError
from pipelines.commands.study import DEFAULT_ARMS
from pipelines.config import read_config
from pipelines.jobs.study import run_study, study_lines
from pipelines.jobs.study_plan import plan_lines, plan_study
from pipelines.reporters import SilentReporter

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the study within its budget and print its answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of the study")
    parser.add_argument("--cache", type=Path, help="cache folder")
    parser.add_argument("--minutes", type=float, default=8.0, help="budget of all arms")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--size-px", type=int, default=224, help="edge of the slices")
    parser.add_argument("--set", action="append", default=[], help="one more setting")
    args = parser.parse_args(argv)
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("There is no CUDA device. --device cpu rehearses the script without one.")
    settings = [
        f"features.device={args.device}",
        f"slices.size_px={args.size_px}",
        "tuning.slices_per_scan=4",
        "folds.n_repeats=1",
        "evaluation.random_trunk=false",
        *args.set,
    ]
    config = read_config(None, settings)
    plan = plan_study(
        args.manifest, config, trunks=["vgg16"], kinds=DEFAULT_ARMS, hours=args.minutes / 60
    )
    print("\n".join(plan_lines(plan)), flush=True)
    document = run_study(
        args.manifest,
        args.out,
        plan,
        cache=args.cache,
        weights=None,
        jobs=None,
        reporter=SilentReporter(),
    )
    print("\n".join(study_lines(document)))


if __name__ == "__main__":
    try:
        main()
    except MriTransferError as error:
        sys.exit(str(error))
