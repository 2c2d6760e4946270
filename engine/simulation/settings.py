"""Distributions of people, views and detectors in simulated pictures."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ViewSettings:
    """Orientation and distance of the subject. Angles are standard deviations in degrees."""

    pitch: float = 15.0
    """Pitch of the camera; it looks down if positive."""
    roll: float = 5.0
    steep_rate: float = 0.15
    """Share of pictures from above or below, with three times the pitch and roll."""
    lying_rate: float = 0.03
    """Share of subjects that lie, towards any side."""
    perspective_rate: float = 0.5
    """Share of pictures with visible perspective; the others are taken from far away."""
    nearest_statures: float = 1.5
    """Least distance between camera and pelvis. Inverse distances are uniform up to this one's."""


@dataclass(frozen=True)
class PoseSettings:
    """Variation of captured poses."""

    jitter: float = 4.0
    """Standard deviation of a turn added to every joint, degrees."""
    blend_rate: float = 0.3
    """Share of poses that are a mean of two captured ones, at a random place between them."""
    exchange_rate: float = 0.3
    """Share of poses whose arms are another captured pose's."""
    sideways_leg_rate: float = 0.2
    """Share of poses whose legs, each alone, are turned by five times the jitter at hips and knees."""


@dataclass(frozen=True)
class DetectorSettings:
    """Errors of simulated detectors. Levels are fractions of the person's height at a typical joint."""

    level: tuple[float, float] = (0.002, 0.05)
    """Least and greatest noise; logarithms are triangular with their mode at ``common_level``."""
    common_level: float = 0.01
    misjudged: float = 0.35
    """Standard deviation of the logarithm of actual over assumed noise, in half of the pictures; 0 in the others."""
    own_confidence_rate: float = 0.3
    """Share of pictures whose keypoints differ in exactness, which is known."""
    habit_rate: float = 0.25
    """Share of pictures of a detector that puts keypoints beside their place, at an offset fixed to the bones."""
    habit_level: float = 0.007
    tail_rate: float = 0.2
    """Share of pictures with gross errors."""
    gross_rate: float = 0.04
    """Share of keypoints with gross errors in those pictures."""
    gross_size: float = 0.15
    rounded_rate: float = 0.12
    """Share of pictures so small that rounding to pixels matters."""
    small_height_px: tuple[float, float] = (50.0, 200.0)
    swapped_rate: float = 0.03
    """Share of pictures with swapped left and right labels of arms or legs."""
    foreign_rate: float = 0.02
    """Share of pictures where hidden parts are invented near the border instead of missing."""


@dataclass(frozen=True)
class VisibilitySettings:
    """Visibility of keypoints."""

    schema_rates: tuple[tuple[str, float], ...] = (
        ("coco17", 0.5), ("halpe26", 0.25), ("body25", 0.15), ("feet23", 0.1),
    )  # fmt: skip
    """Share of pictures with the keypoints of each schema."""
    complete_rate: float = 0.55
    """Share of pictures in which nothing else is hidden."""
    cut_rate: float = 0.5
    """Share of the others that the picture's border cuts off at a random place; the rest lose single parts."""
    missing_rate: float = 0.15
    """Share of hidden keypoints in pictures that lose single parts."""
    limb_rate: float = 0.15
    """Share of hidden arms and legs in pictures that lose single parts."""


@dataclass(frozen=True)
class ClothesSettings:
    """Clothes of simulated people: they make parts thicker, never thinner. Thickness is in metres."""

    kinds: tuple[tuple[float, float], ...] = ((0.0, 0.08), (0.003, 0.27), (0.015, 0.45), (0.03, 0.2))
    """Standard deviation of the half-normal thickness, and share, of each kind: none, tight, ordinary, loose."""
    other_kind_rate: float = 0.25
    """Share of people whose legs wear another kind than the upper body."""
    declared_rate: float = 0.5
    """Share of pictures whose kind of clothes is known, among those of people in one kind and without skirt, coat
    or wrap."""
    asymmetry: float = 0.2
    """Standard deviation of the logarithm of left over right thickness."""
    ripple: float = 0.4
    """Amplitude of waves of the thickness along the body, relative to the thickness."""
    repeat_rate: float = 0.4
    """Share of people who wear the same in all pictures."""
    skirt_rate: float = 0.12
    coat_rate: float = 0.06
    flare: float = 0.06
    """Standard deviation of the distance of a skirt's hem from the legs."""
    coat_thickness: tuple[float, float] = (0.01, 0.04)
    """Of coats, beyond other clothes."""
    wrap_rate: float = 0.15
    """Share of people in cloth that hangs straight over several parts: dresses, straight skirts, wide tops, capes."""
    ease: float = 0.01
    """Standard deviation of the half-normal distance between such cloth and what it touches."""
    hair: float = 0.02
    long_hair_rate: float = 0.35
    shoes: float = 0.01


@dataclass(frozen=True)
class OutlineSettings:
    """Outlines of simulated people and errors of segmenters. Errors are in person heights."""

    share: float = 0.5
    """Share of detectors that come with outlines."""
    clothes: ClothesSettings = ClothesSettings()
    noise: tuple[float, float] = (0.002, 0.01)
    """Least and greatest noise of the boundary; logarithms are uniform."""
    common_share: float = 0.5
    """Share of the noise's variance that one side of a segment has in common."""
    dilation: float = 0.003
    """Standard deviation of a segmenter's mean error outwards."""
    lost_part_rate: float = 0.06
    """Share of segments whose mask is missing."""
    lost_end_rate: float = 0.25
    """Share of pictures whose masks miss hands and feet, and what is next to them."""
    hole_rate: float = 0.02
    """Share of widths that are cut short by a hole or a bay."""
    occluder_rate: float = 0.3
    """Share of pictures with a round object before the person."""
    occluder_size: tuple[float, float] = (0.03, 0.25)
    """Its radius."""
    carried_rate: float = 0.1
    """Share of pictures where such an object counts as part of the person, as bags do."""


@dataclass(frozen=True)
class SimulationSettings:
    """Settings of simulated pictures. The defaults are those of the shipped network."""

    pose: PoseSettings = PoseSettings()
    view: ViewSettings = ViewSettings()
    detector: DetectorSettings = DetectorSettings()
    visibility: VisibilitySettings = VisibilitySettings()
    outline: OutlineSettings = OutlineSettings()
