"""The first screen: the answer, what to mind before believing it, and the warnings above it."""

from __future__ import annotations

from mri_transfer.report.caveats import rank_caveats, run_caveats
from mri_transfer.report.document import Banner, Front, Link
from mri_transfer.report.model import ReportInputs
from mri_transfer.report.summary import (
    answer,
    comparison,
    failed_checks,
    key_figures,
    on_whom,
    studied,
)

__all__ = ["compose_front"]


def compose_front(inputs: ReportInputs) -> Front:
    """Return the first screen, with the three gravest caveats of evaluation and run.

    Parameters
    ----------
    inputs : ReportInputs

    Returns
    -------
    Front
    """
    top, others = rank_caveats([*inputs.evaluation["caveats"], *run_caveats(inputs)])
    return Front(
        answer=answer(inputs),
        comparison=comparison(inputs),
        studied=studied(inputs),
        on_whom=on_whom(inputs),
        key_figures=key_figures(inputs),
        top_caveats=top,
        other_caveats=others,
        banners=_banners(inputs),
    )


def _banners(inputs: ReportInputs) -> tuple[Banner, ...]:
    banners = []
    if inputs.evaluation["synthetic"]:
        text = (
            "These patients were made by software. The figures show that the pipeline works; they "
            "say nothing about patients."
        )
        banners.append(Banner(role="synthetic", title="Synthetic cohort.", text=text))
    if inputs.evaluation["trunk_weights"] == "random":
        text = (
            "This run used random weights in place of pretrained ones. It is a control, not a "
            "result."
        )
        banners.append(Banner(role="random", title="Untrained trunk.", text=text))
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
