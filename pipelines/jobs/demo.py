"""demo: the main job on a synthetic cohort that is grown on the spot."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from mri_transfer.cohorts.readers.bids.reader import read_bids_cohort
from mri_transfer.cohorts.synthetic.cohort import DemoSpec, grow_demo_cohort
from pipelines.config import named_config, read_config
from pipelines.runner import RunOutcome, begin_run, run_pipeline
from pipelines.stage import Reporter

__all__ = ["closing_words", "run_demo"]


def run_demo(out: Path, *, cache: Path | None, reporter: Reporter) -> RunOutcome:
    """Grow the cohort into `out/cohort`, run everything into `out/run`.

    Parameters
    ----------
    out : Path
    cache : Path, optional
        The user's cache folder if not given.
    reporter : Reporter
    """
    spec = DemoSpec()
    reporter.note(f"growing {spec.n_patients} synthetic patients from the MNI152 template")
    cohort = grow_demo_cohort(out / "cohort", spec=spec)
    manifest = out / "manifest.csv"
    read_bids_cohort(cohort).manifest.write(manifest)
    config = read_config(named_config("demo"))
    workspace = begin_run(manifest, out / "run", config, cache=cache)
    return run_pipeline(workspace, config, reporter=reporter)


def closing_words() -> str:
    """Say how to call the command after the demo, which may have run without it on the path."""
    activate = Path(sys.prefix) / "bin" / "activate"
    if sys.prefix == sys.base_prefix or not activate.exists():
        return f"Your own cohort: {shlex.quote(sys.executable)} -m pipelines.commands.cli --help"
    return (
        f"Your own cohort: once in a terminal '. {shlex.quote(str(activate))}', "
        "then 'mri-transfer --help'"
    )
