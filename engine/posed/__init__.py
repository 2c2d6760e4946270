"""Free pose: every picture has its own pose and camera."""
