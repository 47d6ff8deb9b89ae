"""Recalibration: a monotone map of scores, learned from inner scores of training patients.

A head is fitted to tell labels apart, and its score need not be a probability. What maps the score
to one is learned here, like a threshold, on the scores that inner folds gave to training patients
they had held out. It belongs to a fold's head, right of the leakage line.

All methods are fitted to Platt's (1999) targets, ``(n1 + 1) / (n1 + 2)`` for the n1 positive and
``1 / (n0 + 2)`` for the n0 negative patients, instead of 1 and 0. They keep every map finite where
scores separate the labels, and every probability away from 0 and 1, so that a confident mistake
costs a finite log loss.

No map turns the order of scores round. Where the inner scores order patients no better than
chance, the best map allowed is a constant, the share of positive patients: such scores say nothing
about a patient, and a map that turned them round would do so on the word of a few patients.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
