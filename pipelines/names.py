"""The stages' names and what each does, apart from their code so that help answers at once."""

from __future__ import annotations

__all__ = ["STAGE_HELP"]

#: In the order of the data's flow.
STAGE_HELP: dict[str, str] = {
    "check": "Say which scans can be read and have a label, and why the others cannot be used.",
    "prepare": "Bring every scan to the template's space, and say how far to trust it.",
    "slices": "Cut, window and resize the axial slices of every scan.",
    "features": "Pass every slice once through the frozen trunk.",
    "folds": "Split the patients into repeated stratified folds.",
    "train": "Fit a head per outer fold and score the patients it did not see.",
    "evaluate": "Say with intervals how good the held-out scores are, and what baselines reach.",
    "audit": "Stress-test the evaluation for leakage.",
    "explain": "Map the scores onto the brain, and say how far the maps can be trusted.",
    "report": "Write the page that people read.",
}
