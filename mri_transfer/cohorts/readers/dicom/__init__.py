"""Reader and converter of DICOM series."""
