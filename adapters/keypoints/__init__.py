"""Keypoints: files, detectors, the table that both give."""
