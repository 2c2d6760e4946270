"""The column ``outline`` of Parquet and .npz: widths in pixels at ``engine.picture.outline.PLACES``, both sides.

A digest of the table of places stands beside the widths (Parquet's metadata, the text ``outline_places`` of .npz), so
that widths at other places are not taken for these.
"""

import hashlib

from adapters.keypoints.readers.source_files import BrokenFile, SourceFile
from engine.picture.outline_places import PLACES, SIDES

OUTLINE_COLUMN = "outline"
OUTLINE_PLACES_KEY = "samebody.outline_places"
OUTLINE_PLACES_ARRAY = "outline_places"
OUTLINE_NUMBERS = len(PLACES) * SIDES
"""Numbers in a row."""
PLACES_DIGEST = hashlib.sha256(repr(PLACES).encode()).hexdigest()[:16]


def check_outline_places(digest: str | bytes | None, source: SourceFile) -> None:
    """Check that the outlines of a file were measured at the places of this version; files of others may not tell.

    Raises:
        BrokenFile: they were measured elsewhere.
    """
    if digest is None or digest in (PLACES_DIGEST, PLACES_DIGEST.encode()):
        return
    raise BrokenFile(
        f"{source.path}: its outlines were measured at other places than those of this version; measure them again "
        "(samebody outlines, docs/outlines.md), or read the file with --no-outlines"
    )
