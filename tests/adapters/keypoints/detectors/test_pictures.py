"""Photographs of every kind become upright pixels, or one line that says why not."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from adapters.keypoints.detectors.pictures import (
    LARGEST_EDGE,
    MOST_PIXELS,
    BadPicture,
    PictureFile,
    decode_frames,
    decode_still,
    find_pictures,
)
from tests.adapters.photographs import SpotDetector, spot_pixels
from tests.places import ROOT

MIDDLE = (29.5, 19.5)
_ORIENTATION = 0x0112


def _content(image: Image.Image, kind: str = "PNG", **settings) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **settings)
    return stream.getvalue()


def _spot() -> Image.Image:
    return Image.fromarray(spot_pixels())


def _middle(content: bytes, name: str = "x.png") -> tuple[float, float]:
    """Where the spot is, in pixels of the file held upright."""
    picture = decode_still(content, name)
    ((person,),) = SpotDetector().detect([picture.pixels])
    x, y = picture.to_original(person.keypoints)[0]
    return float(x), float(y)


def _with_alpha() -> Image.Image:
    image = _spot().convert("RGBA")
    alpha = np.zeros(image.size[::-1], np.uint8)
    alpha[10:30, 20:40] = 255
    image.putalpha(Image.fromarray(alpha))
    return image


@pytest.mark.parametrize(
    "content",
    [
        _content(_spot()),
        _content(_spot(), "JPEG", quality=95),
        _content(_spot().convert("CMYK"), "JPEG", quality=95),
        _content(_spot().convert("CMYK"), "TIFF"),
        _content(_spot().quantize(8), "GIF"),
        _content(_spot(), "WEBP", lossless=True),
        _content(_spot(), "BMP"),
        _content(_with_alpha()),
        _content(_spot(), "GIF", save_all=True, append_images=[Image.new("RGB", (120, 80))]),
        _content(_spot(), "PNG", save_all=True, append_images=[Image.new("RGB", (120, 80))]),
        _content(_spot(), "WEBP", save_all=True, lossless=True, append_images=[Image.new("RGB", (120, 80))]),
    ],
    ids="png jpeg cmyk-jpeg cmyk-tiff palette webp bmp alpha animated-gif animated-png animated-webp".split(),
)
def test_every_format_shows_the_spot_where_it_is(content) -> None:
    assert _middle(content) == pytest.approx(MIDDLE, abs=0.6)


def test_transparency_is_laid_on_white() -> None:
    pixels = decode_still(_content(_with_alpha()), "x.png").pixels
    assert tuple(pixels[0, 0]) == (255, 255, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_exif_orientation_is_applied(orientation, kind) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = _spot().transpose(undo[orientation]) if orientation > 1 else _spot()
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    content = _content(stored, kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))
    assert decode_still(content, "x").pixels.shape == (80, 120, 3)
    assert _middle(content) == pytest.approx(MIDDLE, abs=0.6)


def test_sixteen_bits_become_eight() -> None:
    deep = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    for kind in ("PNG", "TIFF"):
        pixels = decode_still(_content(Image.fromarray(deep), kind), "x").pixels
        np.testing.assert_array_equal(pixels[..., 0], (deep >> 8).astype(np.uint8))
        np.testing.assert_array_equal(pixels[..., 0], pixels[..., 2])


def test_large_pictures_are_shrunk_and_points_lead_back(monkeypatch) -> None:
    monkeypatch.setattr("adapters.keypoints.detectors.pictures.LARGEST_EDGE", 64)
    exif = Image.Exif()
    exif[_ORIENTATION] = 6
    turned = _spot().transpose(Image.Transpose.ROTATE_90)
    for content in (_content(_spot()), _content(_spot(), "JPEG", quality=95), _content(turned, "JPEG", exif=exif)):
        picture = decode_still(content, "x.jpg")
        assert max(picture.pixels.shape) <= 64
        assert _middle(content) == pytest.approx(MIDDLE, abs=2.1)
        points = np.array([[3.0, 5.0]])
        np.testing.assert_allclose(picture.from_original(picture.to_original(points)), points, atol=1e-12)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_hundred_megapixels_are_read(kind) -> None:
    picture = decode_still(_content(Image.new("RGB", (12_500, 8_000), (200, 30, 10)), kind), "x")
    assert max(picture.pixels.shape) <= LARGEST_EDGE
    assert picture.shrunk_by == pytest.approx((4, 4), rel=1e-3)
    assert picture.pixels[100, 100].tolist() == pytest.approx([10, 30, 200], abs=2)


def _claims(width: int, height: int) -> bytes:
    """A PNG that says how large it is and has no pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"these are words", "not a picture"),
        (b'{"instance_info": []}', "not a picture"),
        (_content(_spot(), "JPEG")[:400], "broken picture"),
        (_content(_spot(), "PNG")[:150], "broken picture"),
        (_content(_spot(), "GIF")[:60], "broken picture|not a picture"),
        (_claims(20_000, 15_000), "pixels"),
        (_claims(100_000, 100_000), "pixels"),
        (_content(Image.new("F", (4, 4)), "TIFF"), "32 bits"),
    ],
    ids="empty text json jpeg-cut png-cut gif-cut 300-megapixels 10-gigapixels float".split(),
)
def test_what_cannot_be_read_says_why(content, message) -> None:
    with pytest.raises(BadPicture, match=message):
        decode_still(content, "x.png")
    assert MOST_PIXELS < 300_000_000


def test_heic_says_what_it_needs() -> None:
    with pytest.raises(BadPicture, match=r"pillow-heif|not a picture"):
        decode_still(b"\0\0\0\x18ftypheic", "x.heic")


def test_folders_are_searched_and_names_tell_files_apart(tmp_path) -> None:
    for name in ("b/2.JPG", "b/10.png", "b/deep/1.webp", "b/.hidden.png", "b/.git/x.png", "b/notes.txt", "c/2.JPG"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    names = [file.name for file in find_pictures([tmp_path / "b"])]
    assert names == ["10.png", "2.JPG", "deep/1.webp"]
    names = [file.name for file in find_pictures([tmp_path / "b", tmp_path / "c", tmp_path / "b" / "notes.txt"])]
    assert names == ["10.png", "b/2.JPG", "deep/1.webp", "c/2.JPG", "notes.txt"]
    with pytest.raises(ValueError, match="no such file"):
        find_pictures([tmp_path / "nothing.jpg"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no photograph"):
        find_pictures([tmp_path / "empty"])


def test_videos_give_every_nth_frame(tmp_path) -> None:
    import cv2

    path = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for number in range(7):
        writer.write(np.full((48, 64, 3), 30 * number, np.uint8))
    writer.release()
    frames = list(decode_frames(PictureFile(str(path), "walk.avi"), 3))
    assert [frame.name for frame in frames] == ["walk.avi#000000", "walk.avi#000003", "walk.avi#000006"]
    assert [int(frame.pixels.mean()) for frame in frames] == pytest.approx([0, 90, 180], abs=3)
    path.write_bytes(b"not a video")
    with pytest.raises(BadPicture, match="not a video"):
        list(decode_frames(PictureFile(str(path), "walk.avi"), 3))


def test_the_package_does_not_import_pillow_until_it_is_needed() -> None:
    source = ROOT / "adapters" / "keypoints" / "detectors" / "pictures.py"
    assert not any(
        line.startswith(("import PIL", "from PIL", "import cv2")) for line in source.read_text().splitlines()
    )
