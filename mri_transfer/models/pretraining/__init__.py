"""Pretraining of an autoencoder on unlabelled scans: its settings, its fit, what is recorded."""
