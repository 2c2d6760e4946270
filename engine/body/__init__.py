"""The body: shape space, joints, keypoints, and the prior of poses."""
