"""People and their keypoints from photographs: detectors behind one interface.

``protocol`` says what a detector is, ``choice`` finds one by its name. Each wraps a library of its own extra, which is
imported when the detector is made: ``mediapipe_detector`` (weights come with it), ``mmpose_detector`` (MMPose itself)
and ``rtmpose_onnx_detector`` (MMPose's RTMPose models without torch). ``pictures`` finds and decodes photographs,
``detection_cache`` remembers what was found in them.
"""
