"""Tails: the stages behind the cut, which are trained inside a fold."""
