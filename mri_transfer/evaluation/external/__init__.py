"""Evaluation of a fixed model on a new cohort (external testing)."""
