"""Reader of BIDS data sets."""
