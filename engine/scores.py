"""What became of one picture. The strings are a contract: they stay the same across versions."""

from enum import IntEnum


class Status(IntEnum):
    """Stored as a small integer inside the engine, shown as ``label``."""

    OK = 0
    LOW_INFORMATION = 1
    """Scored, but the picture says too little about the body to decide."""
    TOO_FEW_KEYPOINTS = 2
    NOT_CONVERGED = 3
    NO_DETECTION = 4
    """Nobody was found in the picture."""
    BAD_INPUT = 5

    @property
    def label(self) -> str:
        return self.name.lower()


LABELS = tuple(status.label for status in Status)
