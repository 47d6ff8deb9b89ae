"""Pages beside the report: predictions, quality, external tests, comparisons, cards."""
