"""Data that comes with samebody: the default calibration."""
