"""The report of a bundle that was adapted to a site, or left as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mri_transfer.metrics.intervals import Estimate
from mri_transfer.report import figures
from mri_transfer.report.blocks.blocks import bullets, figure, how, missing, section_of
from mri_transfer.report.blocks.cells import Column, stacked, table_of
from mri_transfer.report.blocks.document import Section, Text
from mri_transfer.report.blocks.report import Front, KeyFigure, Report
from mri_transfer.report.blocks.wording import interval, number

__all__ = ["adaptation_report"]

#: Level of the intervals in the document.
_CONFIDENCE = 0.95


def adaptation_report(document: Mapping[str, Any], *, made_by: str) -> Report:
    """Lay out what was tried on a site, and what changed.

    Parameters
    ----------
    document : mapping
        The content of `adaptation.json`.
    made_by : str
        The version that made it.
    """
    return Report(
        title="Adaptation to a new site",
        confidence=_CONFIDENCE,
        front=_front(document),
        sections=(_ways(document), _changed(document), _before_and_after(document)),
        made_by=made_by,
    )


def _estimate(content: Mapping[str, Any]) -> Estimate:
    known = {name: content.get(name) for name in ("value", "ci_low", "ci_high", "reason")}
    return Estimate(**known, n=content["n"], method=content["method"])


def _front(document: Mapping[str, Any]) -> Front:
    choice, way = document["choice"], document["way"]
    caveats = [
        f"{choice['n_labelled']} labelled patients were used. Figures of patients left out one at "
        "a time are as uncertain as that number says.",
        "Ways that were tried are listed with p values adjusted for their number.",
    ]
    if not choice["enough"]:
        caveats.insert(
            0,
            f"With so few patients no way can be shown to be better: {choice['needed']} would be "
            "needed.",
        )
    if way != "none" and choice["chosen"] != way:
        caveats.insert(0, "The way was named by the user; the labelled patients did not show it.")
    answer = "Not worth it: no way is significantly better than the bundle as it is."
    if way != "none":
        answer = f"Adapted by {document['title']}: {document['n_parameters']} numbers were fitted."
    return Front(
        answer=answer,
        comparison="",
        studied="Whether a bundle that was trained elsewhere should be adapted to this site.",
        on_whom=f"{choice['n_labelled']} labelled patients of the site, "
        f"{choice['n_positive']} of them positive.",
        key_figures=tuple(
            KeyFigure(
                title=f"AUC, {title}",
                value=number(choice["ways"][name]["auc"]["value"], 2),
                note=interval(_estimate(choice["ways"][name]["auc"]), 2),
            )
            for name, title in (("none", "bundle as it is"), (way, "adapted"))
            if name in choice["ways"] and (name, title) != ("none", "adapted")
        ),
        top_caveats=tuple(caveats[:3]),
        other_caveats=(),
        banners=(),
    )


def _ways(document: Mapping[str, Any]) -> Section:
    ways = document["choice"]["ways"]

    def cell(name: str, figure_name: str) -> str:
        return stacked(_estimate(ways[name][figure_name]))

    def p(name: str, key: str) -> str:
        return number(ways[name].get(key)) if key in ways[name] else ""

    table = table_of(
        list(ways),
        "Ways to adapt, each labelled patient scored by a fit to the others",
        Column("Way", str),
        Column("AUC", lambda name: cell(name, "auc")),
        Column("Brier score", lambda name: cell(name, "brier")),
        Column("Log loss", lambda name: number(ways[name]["log_loss"])),
        Column("p", lambda name: p(name, "p")),
        Column("p, adjusted", lambda name: p(name, "p_adjusted")),
        name="ways",
    )
    not_tried = document["choice"]["not_tried"]
    return section_of(
        "ways",
        "What was tried",
        how(
            "A way replaces the bundle only if its log loss is significantly lower by the exact "
            "test of flipped signs, adjusted by Holm's method."
        ),
        table,
        bullets(f"{name} was not tried: {reason}" for name, reason in not_tried.items()),
    )


def _changed(document: Mapping[str, Any]) -> Section:
    if document["way"] == "none":
        return section_of("changed", "What changed", missing("Nothing: there is no new bundle."))
    parent, fitted = document["parent"], document["fitted"]
    blend = fitted.get("blend")
    drawing = None
    if blend is not None:
        drawing = figure(
            "blend",
            figures.draw_blend(blend),
            "Weights of the training domains whose FiLM sets the new one starts from",
            table_of(
                list(blend),
                "Weights of the blend",
                Column("Domain", str),
                Column("Weight", lambda name: number(blend[name])),
                name="blend",
            ),
        )
    losses = fitted.get("losses", [])
    return section_of(
        "changed",
        "What changed",
        Text(
            text=f"{document['n_parameters']} numbers were fitted by {document['title']}, on top "
            f"of version {parent['version']}. The old bundle is as it was."
        ),
        drawing,
        Text(text=f"Loss before the steps: {', '.join(number(one) for one in losses)}.")
        if losses
        else None,
    )


def _before_and_after(document: Mapping[str, Any]) -> Section:
    rows: list[tuple[str, Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]] = []
    own, old = document.get("own_patients"), document.get("old_domain")
    if own is not None:
        rows.append(
            (
                f"The site's {own['n']} other patients",
                own["before"]["auc"],
                own["after"]["auc"],
                own["auc_difference"],
            )
        )
    if old is not None:
        rows.append(
            (
                f"{old['n_old']} held-out patients of the old cohort",
                old["auc_before"],
                old["auc_after"],
                old["auc_difference"],
            )
        )
    table = table_of(
        rows,
        "AUC before and after",
        Column("Patients", lambda row: row[0]),
        Column("Before", lambda row: stacked(_estimate(row[1]))),
        Column("After", lambda row: stacked(_estimate(row[2]))),
        Column("Difference", lambda row: stacked(_estimate(row[3]))),
        name="before_and_after",
    )
    return section_of(
        "before-after",
        "Before and after",
        table
        or missing(
            "Neither other patients of the site with a label nor the old cohort were at hand."
            if document["way"] != "none"
            else "Nothing changed."
        ),
    )
