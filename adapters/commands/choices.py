"""Choices and defaults in help texts. They are plain constants, because their owners load the engine, which is slow.

A test compares each with its owner.
"""

EMBEDDED_BODY = "anny24"
"""``engine.body.embedded``"""
SCHEMA_NAMES = ("coco17", "halpe26", "body25", "wholebody133", "openpose18", "blazepose33", "halpe136", "goliath308")
"""``engine.body.schemas.SCHEMAS``"""
PERSONS = ("largest", "all")
"""``adapters.jobs.fit``"""
DETECTORS = ("mediapipe", "mmpose", "rtmpose-onnx")
"""``adapters.keypoints.detectors.choice``"""
CLOTHES = ("unknown", "none", "tight", "ordinary", "loose")
"""``engine.picture.clothes``"""
GENDERS = ("neutral", "male", "female")
"""``adapters.bodies.smpl_files``"""
MIN_SCORE = 0.3
"""``adapters.keypoints.readers.file_rules``"""
EXCESS_THRESHOLD = 1.5
"""``engine.posed.scoring``"""
REST_THRESHOLD = 0.1
"""``engine.rest.scores``"""
MARKS = ("keep", "drop", "unsure")
"""``adapters.results.vocabulary``"""
