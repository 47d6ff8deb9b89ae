"""A synthetic cohort: made-up patients with known atrophy, for the demo and for tests."""
