"""One picture: keypoints, camera, and the noise of keypoints."""
