"""Scoring of data sets."""

from collections.abc import Callable, Sequence

from database import host_database
from vision_engine import estimate_pose, smpl_model

from adapters.batch_processor import BatchProcessor, BatchResult

processor = BatchProcessor(host_database, smpl_model)


def process_dataset(
    character_id: int,
    image_paths: Sequence[str],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> BatchResult:
    def poses(paths: Sequence[str]) -> list[list[dict]]:
        return [estimate_pose(path) for path in paths]

    return processor.process(character_id, image_paths, poses, on_progress, cancelled)
