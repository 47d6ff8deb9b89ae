"""Adaptation of a fitted model to a new site with a handful of labelled patients."""
