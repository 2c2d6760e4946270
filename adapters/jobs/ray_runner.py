"""Scoring on a cluster: Ray Data hands pieces of Parquet files to workers, the rows come back in order.

An actor on each device reads its pieces itself, compiles once and scores with the same ``Scorer`` as a local run;
the driver writes. So the output, its parts and ``--resume`` are those of a local run, bit for bit, on one kind of
processor. A worker that dies is replaced and its pieces are scored again by another; rows are neither lost nor doubled,
since the driver counts pieces. Every machine must see the input under the same path.

The keypoints never pass through the driver; scores do, some 60 bytes a picture.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa

from adapters.jobs.compile_cache import enable_compile_cache
from adapters.jobs.score import ScoringJob
from adapters.keypoints.readers import KeypointSource, Piece
from adapters.keypoints.table_source import TableSource

_REMEDY = "pip install 'samebody[ray]'"


@dataclass(frozen=True)
class Workers:
    """Number of actors, and resources of each."""

    count: int
    cpus: float
    gpus: float


class PieceScorer:
    """The actor: scores pieces of the input."""

    def __init__(self, stored: dict[str, Any]) -> None:
        """
        Args:
            stored: reference to the job and its pieces; inside a dictionary, since Ray would fetch it at its own time.
        """
        import ray

        enable_compile_cache()
        job, self._pieces = cast(tuple[ScoringJob, list[Piece]], ray.get(stored["job"]))
        self._source = cast(KeypointSource, job.source)
        self._score = job.scorer()

    def __call__(self, batch: dict[str, np.ndarray]) -> pa.Table:
        """The rows of one piece, given by its number."""
        (number,) = batch["id"].tolist()
        rows = self._score(self._source.read_piece(self._pieces[number]))
        return pa.Table.from_batches([rows])


class RayCluster:
    """A cluster for ``score_to_file``: ``RunSettings(compute=RayCluster(address).batches)``."""

    def __init__(self, address: str = "auto", workers: Workers | None = None) -> None:
        """
        Args:
            address: address of the cluster; ``auto`` is this machine's cluster, ``local`` this machine alone.
            workers: by default one actor for each GPU, or for each machine if there is no GPU.

        Raises:
            ValueError: Ray is not installed, or there is no cluster.
        """
        try:
            import ray
        except ImportError as error:
            raise ValueError(f"Ray is not installed; get it with: {_REMEDY}") from error
        try:
            ray.init(address, ignore_reinit_error=True, log_to_driver=False, logging_level=logging.ERROR)
        except ConnectionError as error:
            raise ValueError(f"no Ray cluster at {address!r}; start one with: ray start --head") from error
        self.workers = workers or _fitting_workers(ray.nodes())

    def batches(self, job: ScoringJob) -> Iterator[pa.RecordBatch]:
        """Batches of all pieces, in order.

        Raises:
            ValueError: the input is not Parquet, or cannot be read.
        """
        import ray
        from ray.data import ActorPoolStrategy, DataContext
        from ray.exceptions import RayError

        if isinstance(job.source, TableSource):
            raise ValueError(
                "photographs and masks cannot be read on a cluster; run samebody detect or samebody outlines first, "
                "and score the file that it writes"
            )
        pieces = job.source.pieces(job.chunk_size, job.skip)
        if not pieces:
            return
        # The driver shows progress, and a pipe must stay silent.
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        numbers = ray.data.range(len(pieces), override_num_blocks=len(pieces))
        scored = numbers.map_batches(
            PieceScorer,
            fn_constructor_args=({"job": ray.put((job, pieces))},),
            batch_size=None,
            compute=ActorPoolStrategy(size=min(self.workers.count, len(pieces))),
            num_cpus=self.workers.cpus,
            num_gpus=self.workers.gpus,
        )
        try:
            for table in cast(Iterable[pa.Table], scored.iter_batches(batch_size=None, batch_format="pyarrow")):
                yield from table.combine_chunks().to_batches()
        except RayError as error:
            raise _plain(error) from error


def _fitting_workers(nodes: list[dict[str, Any]]) -> Workers:
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    gpus = int(sum(resources.get("GPU", 0) for resources in alive))
    if gpus:
        return Workers(gpus, 1, 1)
    machines = [resources["CPU"] for resources in alive if resources.get("CPU", 0) >= 1]
    if not machines:
        raise ValueError("the Ray cluster has no machine with a CPU to spare")
    # One core is left to Ray's own tasks, which would wait for ever otherwise. XLA uses all cores despite Ray's limit.
    return Workers(len(machines), max(1, min(machines) - 1), 0)


def _plain(error: BaseException) -> Exception:
    """The exception of a worker, without Ray's traceback."""
    cause: BaseException | None = error
    while cause is not None:
        own = getattr(cause, "cause", None)
        if isinstance(cause, ValueError) and own is None:
            return ValueError(str(cause))
        cause = own if isinstance(own, BaseException) else cause.__cause__
    return RuntimeError(f"Ray gave up: {error}")
