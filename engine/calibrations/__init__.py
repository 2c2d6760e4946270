"""The calibration that comes with samebody, made by ``benchmarks.default_calibration``."""
