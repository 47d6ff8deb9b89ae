"""compare: several finished runs side by side, paired on the patients they share."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from mri_transfer.errors import ConfigurationError
from mri_transfer.evaluation import ComparedRun, EvaluationDocument, compare_runs, score_arrays
from mri_transfer.evaluation.comparison_document import ComparisonDocument
from mri_transfer.evaluation.notices import study_notices
from mri_transfer.metrics.task import Task
from mri_transfer.report.pages.run_comparison import RunComparison, comparison_report
from mri_transfer.report.render.html import write_report
from mri_transfer.training.predictions import PatientScores
from mri_transfer.version import __version__
from pipelines.config import RunConfig
from pipelines.console import estimate_text
from pipelines.lock import locked
from pipelines.opening import open_run
from pipelines.plan.order import STAGES
from pipelines.running import demand_trusted
from pipelines.settings import affects_results, flat_settings
from pipelines.stage import Context, Reporter
from pipelines.stages.folds import read_folds
from pipelines.workspace import Workspace

__all__ = ["compare_run_folders", "comparison_lines"]


def compare_run_folders(
    folders: Sequence[Path], out: Path, *, reporter: Reporter
) -> ComparisonDocument:
    """Compare finished runs; write `comparison.json` and a page.

    Parameters
    ----------
    folders : sequence of Path
        Run folders whose evaluation is done.
    out : Path
        Folder to write to; made if missing.
    reporter : Reporter

    Returns
    -------
    ComparisonDocument

    Raises
    ------
    ConfigurationError
        If fewer than two folders are named, or one twice.
    RunFolderError, EvaluationError
        If a run is not finished, was edited or is stale, or the runs have nothing in common.
    """
    names = _names(folders)
    opened = [open_run(folder) for folder in folders]
    with contextlib.ExitStack() as held:
        for workspace, _ in opened:
            held.enter_context(locked(workspace))
        return _compare(names, opened, out, reporter)


def _compare(
    names: Sequence[str],
    opened: Sequence[tuple[Workspace, RunConfig]],
    out: Path,
    reporter: Reporter,
) -> ComparisonDocument:
    runs = [
        _run(name, Context(workspace=workspace, config=config, reporter=reporter))
        for name, (workspace, config) in zip(names, opened, strict=True)
    ]
    reporter.note(f"comparing {len(runs)} runs on the patients they share")
    spec = opened[0][1].evaluation
    document = compare_runs(
        runs,
        n_samples=spec.bootstrap_samples,
        seed=opened[0][1].seed,
        confidence=spec.confidence,
    )
    out.mkdir(parents=True, exist_ok=True)
    document.write(out / "comparison.json")
    comparison = RunComparison(
        document=document,
        settings=_differing(dict(zip(names, (config for _, config in opened), strict=True))),
        calls=_calls(names, [workspace for workspace, _ in opened]),
        made_by=f"mri-transfer {__version__}",
    )
    write_report(comparison_report(comparison), out / "index.html")
    return document


def comparison_lines(document: ComparisonDocument) -> list[str]:
    """Return a comparison's answer in a few lines of text."""
    lines = [f"WARNING: {one}" for one in document.warnings]
    lines += [f"{document.n_common} patients in common, {document.n_positive} positive"]
    for run in document.runs:
        lines.append(f"  {run.name}: AUC {estimate_text(run.common.auc)}")
    for pair in document.pairs:
        p = pair.auc_difference.p
        text = "" if p is None else f", p {p:.3f}"
        difference = estimate_text(pair.auc_difference)
        lines.append(f"  {pair.first} minus {pair.second}: {difference}{text}")
    return lines


def _names(folders: Sequence[Path]) -> list[str]:
    """Name each run by its folder, with as much of the path as tells them apart."""
    paths = [folder.resolve() for folder in folders]
    if len(paths) < 2 or len(set(paths)) < len(paths):
        raise ConfigurationError(
            "a comparison needs two different run folders or more",
            found=", ".join(map(str, folders)),
        )
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    raise AssertionError("different paths have different names at some depth")


def _run(name: str, context: Context) -> ComparedRun:
    workspace, config = context.workspace, context.config
    files = [
        (workspace.folds, "folds"),
        (workspace.patient_scores, "train"),
        (workspace.evaluation, "evaluate"),
    ]
    demand_trusted(context, files, stages=STAGES)
    evaluation = EvaluationDocument.read(workspace.evaluation, stage="evaluate")
    thresholds = {(row.repeat, row.fold): row.threshold for row in evaluation.per_fold}
    arrays = score_arrays(
        PatientScores.read(workspace.patient_scores).table,
        folds=read_folds(workspace, config).table(),
        thresholds=thresholds,
        task=Task(positive=config.labels.positive, negative=config.labels.others),
    )
    notices = study_notices(synthetic=evaluation.synthetic, trunk_weights=evaluation.trunk_weights)
    return ComparedRun(name=name, arrays=arrays, notices=notices)


def _differing(configs: Mapping[str, RunConfig]) -> pd.DataFrame:
    """Return the settings of results that differ: one row a setting, one column a run."""
    flat = {name: flat_settings(dataclasses.asdict(config)) for name, config in configs.items()}
    table = pd.DataFrame(flat).fillna("").sort_index()
    shown = table.index.map(affects_results).to_numpy(dtype=bool)
    return table[shown & (table.nunique(axis=1) > 1)]


def _calls(names: Sequence[str], workspaces: Sequence[Workspace]) -> pd.DataFrame:
    """Return each common patient's label and mean score by run."""
    tables = [PatientScores.read(one.patient_scores).table for one in workspaces]
    scores = {
        name: table.groupby("patient_id")["score"].mean()
        for name, table in zip(names, tables, strict=True)
    }
    label = tables[0].drop_duplicates("patient_id").set_index("patient_id")["label"]
    return pd.DataFrame({"label": label, **scores}).dropna().sort_index()
