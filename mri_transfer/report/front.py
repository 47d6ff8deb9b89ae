"""The first screen: the answer, what to mind before believing it, and the warnings above it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from mri_transfer.evaluation.notices import Notice, study_notices
from mri_transfer.report.blocks.document import Link
from mri_transfer.report.blocks.report import Banner, Front
from mri_transfer.report.caveats import rank_caveats, run_caveats
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.summary import (
    answer,
    comparison,
    failed_checks,
    key_figures,
    on_whom,
    question,
    studied,
)

__all__ = ["compose_front", "study_banners"]

_ROLES: dict[str, Literal["synthetic", "random", "adapted"]] = {
    "synthetic_cohort": "synthetic",
    "random_trunk": "random",
    "transductive_moments": "adapted",
}


def compose_front(inputs: ReportInputs) -> Front:
    """Return the first screen, with the three gravest caveats of evaluation and run.

    Parameters
    ----------
    inputs : ReportInputs

    Returns
    -------
    Front
    """
    top, others = rank_caveats([*inputs.evaluation.caveats, *run_caveats(inputs)])
    return Front(
        question=question(inputs),
        answer=answer(inputs),
        comparison=comparison(inputs),
        studied=studied(inputs),
        on_whom=on_whom(inputs),
        key_figures=key_figures(inputs),
        top_caveats=top,
        other_caveats=others,
        banners=_banners(inputs),
    )


def study_banners(notices: Iterable[Notice]) -> tuple[Banner, ...]:
    """Return the warnings that stand above everything, a banner each."""
    return tuple(
        Banner(role=_ROLES[notice.code], title=notice.title, text=notice.text) for notice in notices
    )


def _banners(inputs: ReportInputs) -> tuple[Banner, ...]:
    evaluation = inputs.evaluation
    banners = list(
        study_banners(
            study_notices(synthetic=evaluation.synthetic, trunk_weights=evaluation.trunk_weights)
        )
    )
    failed = failed_checks(inputs)
    if failed:
        what = "1 check" if len(failed) == 1 else f"{len(failed)} checks"
        banners.append(
            Banner(
                role="failed",
                title=f"{what} of the audit did not pass.",
                text="Do not rely on the figures below before this is explained.",
                items=tuple(failed),
                link=Link(text="All checks", target="#leakage"),
            )
        )
    return tuple(banners)
