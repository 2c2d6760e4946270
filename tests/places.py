"""Where things are that tests need."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "tests" / "data" / "five_people"
"""COCO keypoints of five invented people with hardly any noise: 6 references of anna, 18 pictures of each."""
SHARED = ROOT.parent / "shared" / "data"
"""Real keypoints that cannot be passed on; tests that use them are skipped where they are missing."""
