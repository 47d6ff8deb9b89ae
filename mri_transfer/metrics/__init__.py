"""Pure functions of labels and scores, with their intervals."""
