"""Keypoints from files, whatever program wrote them: MMPose's JSON, COCO's JSON, .npz and Parquet.

    for table in open_keypoints(["predictions/", "more.parquet"]): ...     bounded memory
    table = read_keypoints(["cam01.json"])                                 everything at once

Files are read in the order in which they are given, folders sorted, rows in the order of the file: the same files give
the same rows. ``source_files`` finds the files of a folder and names pictures, ``file_rules`` converts scores, and
``forms`` defines the JSON forms; ``text_files``, ``csv_files`` and ``arrays`` read the other formats.

A record that cannot be read becomes a row with status BAD_INPUT and a detail with reason and place. So does a broken
file among several; a single broken file is an error. Files of different schemas are an error too, unless the caller
gives the wanted schema: then each file's keypoints are matched by name, and missing ones count as not seen.

samebody's own layout, written by ``keypoint_writers`` and used by everything that handles volume, is Parquet with

    image             string                      how the picture is called
    instance          int32                       which person in it, from 0; -1 in rows without a person
    keypoints         fixed_size_list<float>[2K]  x, y of keypoint 0, x, y of keypoint 1, ... in pixels
    keypoint_scores   fixed_size_list<float>[K]   0..1, or whatever the detector gave (see ``keypoint_table``)
    bbox              fixed_size_list<float>[4]   optional: x1, y1, x2, y2; null or NaN where there is none
    outline           fixed_size_list<float>[90]  optional: widths of the mask, NaN where not seen (docs/outlines.md)
    row_status        string                      optional: ok, no_detection, bad_input; missing or null is ok
    detail            string                      optional: what is wrong

and the key ``samebody.keypoint_schema`` in the file's metadata: JSON with ``name`` and ``keypoint_names``, and for
keypoints that samebody does not know ``sigmas``, ``swap`` and ``edges``. Files of others may leave out image, instance
(then rows of one picture stand together) and the metadata (then the number of keypoints decides), may call the scores
``confidence``, and may use lists of any kind, [[x, y], ...] included.
"""

import os
from collections.abc import Sequence

from adapters.keypoints.readers.file_rules import FILE_RULES, ReadingOptions
from adapters.keypoints.readers.file_schema import kept_schema
from adapters.keypoints.readers.keypoint_source import CHUNK_SIZE, KeypointSource, Piece
from adapters.keypoints.readers.open_file import open_file, schema_of
from adapters.keypoints.readers.source_files import BrokenFile, find_files
from adapters.keypoints.table import KeypointTable, concat_tables
from engine.body.schemas import COCO_17, KeypointSchema

__all__ = ["CHUNK_SIZE", "KeypointSource", "Piece", "ReadingOptions", "open_keypoints", "read_keypoints"]


def open_keypoints(
    paths: Sequence[str | os.PathLike[str]],
    schema: KeypointSchema | None = None,
    chunk_size: int = CHUNK_SIZE,
    processes: int = 1,
    options: ReadingOptions = FILE_RULES,
) -> KeypointSource:
    """Find the files and their schema; iterate over the result to read them in tables of bounded size.

    Args:
        paths: files, and folders of JSON files.
        schema: the schema of the tables; None takes that of the first file that has one. Files that do not name their
            keypoints are assumed to have it if the number fits.
        processes: how many may read large amounts of JSON. They import the caller's main module, so a script needs
            ``if __name__ == "__main__"`` to use more than one.
        options: the least score, and the size of pictures.

    Raises:
        ValueError: a path is not a keypoint file, or no file can be read; the message has the place and the reason.
    """
    if chunk_size < 1:
        raise ValueError(f"chunk_size is {chunk_size}, expected at least 1")
    files = find_files(paths, options)
    errors: list[BrokenFile] = []
    for source in files:
        try:
            found = schema_of(open_file(source), schema, schema is not None)
        except BrokenFile as error:
            errors.append(error)
            continue
        if schema is not None:
            return KeypointSource(files, schema, chunk_size, None, processes, options)
        if found is not None:
            return KeypointSource(files, kept_schema(found), chunk_size, source, processes, options)
    if len(errors) == len(files):
        raise errors[0] if len(files) == 1 else ValueError(f"none of {len(files)} files can be read; {errors[0]}")
    # Nobody was found in any picture, so no row has keypoints and any schema will do.
    return KeypointSource(files, COCO_17, chunk_size, None, processes, options)


def read_keypoints(
    paths: Sequence[str | os.PathLike[str]],
    schema: KeypointSchema | None = None,
    options: ReadingOptions = FILE_RULES,
) -> KeypointTable:
    """All rows of all files in one table; see ``open_keypoints``."""
    source = open_keypoints(paths, schema, options=options)
    return concat_tables(source.schema, list(source))
