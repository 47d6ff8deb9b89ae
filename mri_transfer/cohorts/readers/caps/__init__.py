"""Reader of Clinica's t1-linear images in a CAPS folder."""
