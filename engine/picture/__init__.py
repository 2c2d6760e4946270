"""One picture: keypoints, camera, and how far keypoints are off."""
