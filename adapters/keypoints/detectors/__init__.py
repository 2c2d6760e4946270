"""People and their keypoints from photographs: detectors behind one interface.

``protocol`` defines the interface, and ``choice`` finds a detector by its name. Each detector wraps a library from an
extra; the library is imported when the detector is made: ``mediapipe_detector`` (weights come with it),
``mmpose_detector`` (MMPose itself) and ``rtmpose_onnx_detector`` (MMPose's RTMPose models without torch). ``pictures``
finds and decodes photographs, and ``detection_cache`` keeps the people that were found in them.
"""
