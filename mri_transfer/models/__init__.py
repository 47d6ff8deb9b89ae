"""The model: trunk, head, aggregation of slices, recalibration and harmonisation."""
