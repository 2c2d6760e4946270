"""Pictures from bytes of any origin, opened with Pillow; this module is imported without it."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def import_pillow(most_pixels: int) -> Any:
    """``PIL.Image``, which refuses pictures with more pixels only where the caller does.

    Raises:
        ImportError: Pillow is missing.
    """
    from PIL import Image

    # Pillow's own guard is one number for the process and warns at half of it; callers check their own first.
    if Image.MAX_IMAGE_PIXELS is not None and Image.MAX_IMAGE_PIXELS < most_pixels:
        Image.MAX_IMAGE_PIXELS = most_pixels
    return Image


@contextmanager
def open_image(content: bytes, most_pixels: int, problem: type[ValueError]) -> Iterator[Any]:
    """The opened picture; whatever fails while it is used is a ``problem`` with the reason, too.

    Raises:
        ImportError: Pillow is missing.
    """
    image_module = import_pillow(most_pixels)
    try:
        with image_module.open(io.BytesIO(content)) as image:
            yield image
    except problem:
        raise
    except image_module.UnidentifiedImageError:
        raise problem("not a picture that can be read") from None
    except image_module.DecompressionBombError:
        raise problem(f"it has more pixels than samebody reads ({most_pixels:,})") from None
    except Exception as error:  # decoders raise many types for hostile files: OSError, SyntaxError, struct.error ...
        raise problem(f"broken picture: {error}") from error
