"""The body: shape space, joints, keypoints, and how people hold themselves."""
