"""samebody's mathematics: bodies, keypoints, fits and scores in JAX. Imports nothing that touches the outside world."""
