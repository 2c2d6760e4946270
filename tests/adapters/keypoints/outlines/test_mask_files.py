"""Masks in files of every kind that is read, and files that must be refused. Needs Pillow (extra report)."""

import io
import zlib
from pathlib import Path

import numpy as np
import pytest

from adapters.keypoints.outlines.mask_arrays import BadMask, masks_of_array
from adapters.keypoints.outlines.mask_files import read_masks

Image = pytest.importorskip("PIL.Image", reason="Pillow comes with the extra report")

TWO = np.zeros((40, 30), np.uint8)
TWO[5:20, 3:10] = 1
TWO[8:30, 15:25] = 2


def _saved(path: Path, values: np.ndarray, **options: object) -> Path:
    Image.fromarray(values).save(path, **options)
    return path


def _expected(*labels: int) -> list[np.ndarray]:
    return [(TWO == label).astype(np.uint8) * 255 for label in labels]


def _equal(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert len(found) == len(expected)
    for own, other in zip(found, expected, strict=True):
        assert own.dtype == np.uint8
        np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize("high", [1, 255])
def test_a_grey_picture_with_two_values_is_one_mask(tmp_path: Path, high: int) -> None:
    values = (TWO > 0).astype(np.uint8) * np.uint8(high)
    _equal(read_masks(_saved(tmp_path / "m.png", values)), [(TWO > 0).astype(np.uint8) * 255])
    _equal(read_masks(_saved(tmp_path / "n.png", TWO > 0)), [(TWO > 0).astype(np.uint8) * 255])


def test_whole_numbers_are_people(tmp_path: Path) -> None:
    _equal(read_masks(_saved(tmp_path / "m.png", TWO)), _expected(1, 2))
    _equal(read_masks(_saved(tmp_path / "m16.png", TWO.astype(np.uint16) * 300)), _expected(1, 2))
    with_border = TWO.copy()
    with_border[4, 3:10] = 255
    _equal(read_masks(_saved(tmp_path / "voc.png", with_border)), _expected(1, 2))
    palette = Image.fromarray(TWO, "P")
    palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    palette.save(tmp_path / "p.png")
    _equal(read_masks(tmp_path / "p.png"), _expected(1, 2))


def test_colours_on_black_are_people(tmp_path: Path) -> None:
    colours = np.array([[0, 0, 0], [10, 200, 30], [250, 0, 90]], np.uint8)[TWO]
    _equal(read_masks(_saved(tmp_path / "c.png", colours)), _expected(1, 2))


def test_shades_of_grey_and_transparency_are_soft_masks(tmp_path: Path) -> None:
    soft = np.clip(np.add.outer(np.arange(40), np.arange(30)) * 4, 0, 255).astype(np.uint8)
    _equal(read_masks(_saved(tmp_path / "s.png", soft)), [soft])
    cut = np.dstack([np.full((40, 30, 3), 77, np.uint8), soft])
    _equal(read_masks(_saved(tmp_path / "a.png", cut)), [soft])


def test_archives_hold_stacks_or_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "stack.npz", masks=np.stack([TWO == 1, TWO == 2]), scores=np.ones(2))
    _equal(read_masks(tmp_path / "stack.npz"), _expected(1, 2))
    np.savez(tmp_path / "one.npz", TWO.astype(np.int64))
    _equal(read_masks(tmp_path / "one.npz"), _expected(1, 2))
    np.savez(tmp_path / "soft.npz", masks=(TWO == 1)[None] * 0.4)
    assert read_masks(tmp_path / "soft.npz")[0].max() == 102


def test_bad_files_have_a_reason(tmp_path: Path) -> None:
    whole = (tmp_path / "m.png", _saved(tmp_path / "m.png", TWO).read_bytes())
    contents = {
        "empty.png": b"",
        "text.png": b"hello",
        "cut.png": whole[1][:-30],
        "photo.png": _png(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)),
        "white.png": _png(np.full((9, 9, 3), [255, 255, 0], np.uint8)),
        "bomb.png": _bomb(),
        "black.png": _png(np.zeros((9, 9), np.uint8)),
        "text.npz": b"hello",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadMask):
            read_masks(tmp_path / name)
    np.savez(tmp_path / "names.npz", a=TWO, b=TWO)
    np.savez(tmp_path / "line.npz", masks=np.zeros(9))
    np.savez(tmp_path / "pickled.npz", masks=np.array([None]))
    np.savez(tmp_path / "many.npz", masks=np.zeros((1000, 4, 4), bool))
    for name in ("names.npz", "line.npz", "pickled.npz", "many.npz", "missing.png"):
        with pytest.raises(BadMask):
            read_masks(tmp_path / name)


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((0, 5), bool),
        np.zeros((2, 0, 5), bool),
        np.full((4, 4), -1),
        np.full((4, 4), 10**6),
        np.full((4, 4), 1.5),
        np.full((4, 4), np.nan),
        np.array([["a"]]),
        np.zeros((2, 2, 2, 2)),
        np.arange(100).reshape(10, 10),
        np.stack([TWO, TWO]),
    ],
)
def test_arrays_that_are_no_masks(values: np.ndarray) -> None:
    with pytest.raises(BadMask):
        masks_of_array(values)


def _png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def _bomb() -> bytes:
    """A PNG of a few bytes that claims 60,000 × 60,000 pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")

    header = (60_000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )
