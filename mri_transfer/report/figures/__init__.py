"""Draws what the evaluation and the audit computed, and scans; nothing is computed here.

Each diagram is a pair: `plot_<name>(ax, ...)` puts computed arrays on the axes it is given, and
`draw_<name>(...)` returns one SVG element, the same bytes for the same input. Text stays text, so
that it can be read aloud and searched; colours are CSS variables with a fallback, so that a page
can recolour them for a dark screen. The palette is that of Okabe and Ito (2008), which people who
do not see red and green apart can tell apart. Pictures of scans are PNG files.
"""

from __future__ import annotations

from mri_transfer.report.figures.architecture import DrawnBlock, DrawnStep, draw_architecture
from mri_transfer.report.figures.attribution import (
    attribution_png,
    axial_planes,
    draw_attribution_heights,
)
from mri_transfer.report.figures.comparisons import (
    draw_auc_comparison,
    draw_leakage,
    draw_run_comparison,
    plot_auc_comparison,
    plot_leakage,
)
from mri_transfer.report.figures.contact_sheet import (
    attribution_limit,
    attribution_sheet,
    slice_sheet,
)
from mri_transfer.report.figures.curves import (
    draw_calibration,
    draw_patient_scores,
    draw_roc,
    draw_slice_profile,
    plot_calibration,
    plot_patient_scores,
    plot_roc,
    plot_slice_profile,
)
from mri_transfer.report.figures.flow import FlowGroups, FlowStep, draw_flow
from mri_transfer.report.figures.picture_store import PictureStore, picture_key
from mri_transfer.report.figures.quality import qc_pictures
from mri_transfer.report.figures.tiles import Orientation, convention_text
from mri_transfer.report.figures.trends import (
    draw_decision_curve,
    draw_learning_curve,
    plot_decision_curve,
    plot_learning_curve,
)

__all__ = [
    "DrawnBlock",
    "DrawnStep",
    "FlowGroups",
    "FlowStep",
    "Orientation",
    "PictureStore",
    "attribution_limit",
    "attribution_png",
    "attribution_sheet",
    "axial_planes",
    "convention_text",
    "draw_architecture",
    "draw_attribution_heights",
    "draw_auc_comparison",
    "draw_calibration",
    "draw_decision_curve",
    "draw_leakage",
    "draw_flow",
    "draw_learning_curve",
    "draw_patient_scores",
    "draw_roc",
    "draw_run_comparison",
    "draw_slice_profile",
    "picture_key",
    "plot_auc_comparison",
    "plot_calibration",
    "plot_decision_curve",
    "plot_leakage",
    "plot_learning_curve",
    "plot_patient_scores",
    "plot_roc",
    "plot_slice_profile",
    "qc_pictures",
    "slice_sheet",
]
