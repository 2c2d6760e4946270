"""Simulated pictures: people, poses, views, cameras and detectors, drawn on the device from one key."""
