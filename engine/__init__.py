"""samebody's mathematics: bodies, keypoints, fits and scores in JAX. Imports nothing that touches the outside world."""

VERSION = "0.1.0"
"""Version of the package, written into every file that it makes."""
