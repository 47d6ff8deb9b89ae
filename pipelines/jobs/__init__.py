"""Work that needs more than one run folder, or none: predict, retrain, validate, compare."""
