"""Where things are that tests need."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "adapters" / "jobs" / "demo_data"
SHARED = ROOT.parent / "shared" / "data"
"""Real keypoints that cannot be passed on; tests that use them are skipped where they are missing."""
