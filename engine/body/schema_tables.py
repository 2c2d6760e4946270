"""The keypoint schemas as data: names, OKS sigmas, edges.

Names follow MMPose (``head`` is the top of the head, ``hip`` the middle of the hips), so that a body part has one name
in every schema. Left/right swaps follow from the names, except for the face, whose points run around the outline.

Sigmas are the published per-keypoint standard deviations of the OKS metric: COCO-17 (cocodataset.org, "keypoint
evaluation"), COCO-WholeBody (Jin et al., ECCV 2020, evaluation script), Halpe (Fang et al., evaluation script), all as
MMPose 1.3 lists them. OpenPose does not publish sigmas for BODY_25: its points take the sigma of the same point in the
other tables.
"""

COCO_17 = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
COCO_17_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089,
    0.089,
)  # fmt: skip
LIMB_EDGES = (
    ("left_ankle", "left_knee"), ("left_knee", "left_hip"), ("right_ankle", "right_knee"), ("right_knee", "right_hip"),
    ("left_hip", "right_hip"), ("left_shoulder", "left_hip"), ("right_shoulder", "right_hip"),
    ("left_shoulder", "right_shoulder"), ("left_shoulder", "left_elbow"), ("right_shoulder", "right_elbow"),
    ("left_elbow", "left_wrist"), ("right_elbow", "right_wrist"),
)  # fmt: skip
FACE_EDGES = (
    ("nose", "left_eye"), ("nose", "right_eye"), ("left_eye", "left_ear"), ("right_eye", "right_ear"),
)  # fmt: skip
FEET_EDGES = tuple(
    (f"{side}_ankle", f"{side}_{part}") for side in ("left", "right") for part in ("big_toe", "small_toe", "heel")
)

HALPE_26 = (
    *COCO_17, "head", "neck", "hip",
    "left_big_toe", "right_big_toe", "left_small_toe", "right_small_toe", "left_heel", "right_heel",
)  # fmt: skip
HALPE_26_SIGMAS = (*COCO_17_SIGMAS, 0.026, 0.026, 0.066, 0.079, 0.079, 0.079, 0.079, 0.079, 0.079)
HEAD_EDGES = (("head", "neck"), ("neck", "hip"))

BODY_25 = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "hip", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
    "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip

COCO_FEET = (
    "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip
COCO_FEET_SIGMAS = (0.068, 0.066, 0.066, 0.092, 0.094, 0.094)
FACE_68 = tuple(f"face-{index}" for index in range(68))
FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
HANDS_42 = tuple(
    name
    for side in ("left", "right")
    for name in (f"{side}_hand_root", *(f"{side}_{finger}{bone}" for finger in FINGERS for bone in range(1, 5)))
)
FACE_68_SIGMAS = (
    0.042, 0.043, 0.044, 0.043, 0.040, 0.035, 0.031, 0.025, 0.020, 0.023, 0.029, 0.032, 0.037, 0.038, 0.043, 0.041,
    0.045, 0.013, 0.012, 0.011, 0.011, 0.012, 0.012, 0.011, 0.011, 0.013, 0.015, 0.009, 0.007, 0.007, 0.007, 0.012,
    0.009, 0.008, 0.016, 0.010, 0.017, 0.011, 0.009, 0.011, 0.009, 0.007, 0.013, 0.008, 0.011, 0.012, 0.010, 0.034,
    0.008, 0.008, 0.009, 0.008, 0.008, 0.007, 0.010, 0.008, 0.009, 0.009, 0.009, 0.007, 0.007, 0.008, 0.011, 0.008,
    0.008, 0.008, 0.010, 0.008,
)  # fmt: skip
HAND_21_SIGMAS = (
    0.029, 0.022, 0.035, 0.037, 0.047, 0.026, 0.025, 0.024, 0.035, 0.018, 0.024, 0.022, 0.026, 0.017, 0.021, 0.021,
    0.032, 0.020, 0.019, 0.022, 0.031,
)  # fmt: skip
# Position of each of the 68 outline points in the mirrored face (the iBUG-68 numbering).
FACE_68_MIRROR = (
    16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 27, 28, 29, 30,
    35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55,
    64, 63, 62, 61, 60, 67, 66, 65,
)  # fmt: skip
WHOLEBODY_133 = (*COCO_17, *COCO_FEET, *FACE_68, *HANDS_42)
WHOLEBODY_133_SIGMAS = (*COCO_17_SIGMAS, *COCO_FEET_SIGMAS, *FACE_68_SIGMAS, *HAND_21_SIGMAS, *HAND_21_SIGMAS)
HAND_EDGES = tuple(
    edge
    for side in ("left", "right")
    for finger in FINGERS
    for edge in (
        (f"{side}_wrist", f"{side}_{finger}1"),
        *((f"{side}_{finger}{bone}", f"{side}_{finger}{bone + 1}") for bone in range(1, 4)),
    )
)

OPENPOSE_18 = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
)  # fmt: skip
"""OpenPose's COCO model, which ControlNet, DWPose and AlphaPose's ``open`` form keep (OpenPose, doc/02_output.md)."""

HALPE_136 = (*HALPE_26, *FACE_68, *HANDS_42)
HALPE_136_SIGMAS = (*HALPE_26_SIGMAS, *FACE_68_SIGMAS, *HAND_21_SIGMAS, *HAND_21_SIGMAS)
"""Halpe full body: 26 points, then face and hands in COCO-WholeBody's order (Fang et al., Halpe-FullBody README)."""

# MediaPipe's index, pinky and thumb landmarks are knuckles, its foot index is the tip of the foot (MediaPipe, pose
# landmarker model card): the nearest points of COCO-WholeBody carry their names.
BLAZEPOSE_33 = (
    "nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye", "right_eye_outer",
    "left_ear", "right_ear", "left_mouth", "right_mouth", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_pinky_finger1", "right_pinky_finger1", "left_forefinger1",
    "right_forefinger1", "left_thumb2", "right_thumb2", "left_hip", "right_hip", "left_knee", "right_knee",
    "left_ankle", "right_ankle", "left_heel", "right_heel", "left_big_toe", "right_big_toe",
)  # fmt: skip

# Sapiens (Khirodkar et al., ECCV 2024): the first 70 of Goliath's 308 points are body, feet and hands, each finger from
# its tip to its knuckle, elbows' sides, shoulders' tops and neck; the others are face and ears.
_GOLIATH_HANDS = tuple(
    name
    for side in ("right", "left")
    for name in (
        *(f"{side}_{finger}{bone}" for finger in FINGERS for bone in range(4, 0, -1)),
        f"{side}_wrist",
    )
)
GOLIATH_308 = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", *COCO_FEET,
    *_GOLIATH_HANDS, "left_olecranon", "right_olecranon", "left_cubital_fossa", "right_cubital_fossa", "left_acromion",
    "right_acromion", "neck", *(f"goliath-{index}" for index in range(70, 308)),
)  # fmt: skip

SMPL_24 = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hand", "right_hand",
)  # fmt: skip
"""SMPL's joints in their order (Loper et al., SIGGRAPH Asia 2015): joint names, not a keypoint schema."""
