"""Readers of cohorts, one per kind of source."""
