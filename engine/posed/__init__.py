"""Free pose: every picture's own pose and camera."""
