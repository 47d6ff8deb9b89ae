"""Adaptation to a site with a handful of patients: what is fitted, patient by patient."""
