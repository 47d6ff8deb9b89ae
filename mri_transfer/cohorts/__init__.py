"""Cohorts: the manifest, readers of every kind of source, mappings, the synthetic cohort."""
