"""Rest pose: the body stands in a T-pose; shape and camera are fitted."""
