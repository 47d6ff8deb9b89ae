"""ModelBundle: a fitted model with everything it needs to be applied to a new scan."""
