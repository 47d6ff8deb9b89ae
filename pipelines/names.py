"""Names and help of the stages, separate from their code so that `--help` is fast."""

from __future__ import annotations

__all__ = ["STAGE_HELP"]

#: In order of data flow.
STAGE_HELP: dict[str, str] = {
    "check": "Check which scans can be read and have a label, and list the others with reasons.",
    "prepare": "Register every scan to the template, and check its quality.",
    "slices": "Cut, window and resize the axial slices of every scan.",
    "features": "Compute the features of every slice with the frozen trunk.",
    "folds": "Split the patients into repeated stratified folds.",
    "train": "Fit a head per outer fold and score the held-out patients.",
    "evaluate": "Evaluate the held-out scores with confidence intervals, and compare baselines.",
    "audit": "Stress-test the evaluation for leakage.",
    "explain": "Compute attribution maps of the scores, and test their reliability.",
    "report": "Write the report.",
}
