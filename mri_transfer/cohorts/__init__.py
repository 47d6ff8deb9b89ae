"""Cohorts: the manifest, readers for each data source, column mappings, the synthetic cohort."""
