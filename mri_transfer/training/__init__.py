"""Fits models: folds, cross-validation, hyperparameter search, refits and updates."""
