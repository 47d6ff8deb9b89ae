"""A synthetic cohort with known atrophy, for the demo and for tests."""
