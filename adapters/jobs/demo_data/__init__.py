"""Keypoints of invented people for ``samebody demo``, made by ``python -m benchmarks.make_demo``."""
