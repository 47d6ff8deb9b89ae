"""Reader of the OASIS-1 discs."""
