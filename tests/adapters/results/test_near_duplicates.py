"""Pictures that look alike, whatever their size and compression, and those that do not."""

import io

import numpy as np
from PIL import Image

from adapters.results.near_duplicates import first_alike, picture_hash


def _picture(seed: int, moved: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 255, (9, 9, 3), np.uint8)
    large = Image.fromarray(coarse).resize((360, 360), Image.Resampling.BICUBIC)
    return large.crop((moved, 0, 320 + moved, 320))


def _compressed(picture: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    picture.resize((200, 200)).save(stream, "JPEG", quality=40)
    return Image.open(stream)


def test_twins_are_found_and_strangers_are_not() -> None:
    pictures = [picture for seed in range(20) for picture in (_picture(seed), _compressed(_picture(seed)))]
    hashes = [picture_hash(picture) for picture in pictures]
    names = [f"{number:02d}" for number in range(len(pictures))]
    assert first_alike(hashes, names).tolist() == [2 * (row // 2) for row in range(len(pictures))]


def test_the_order_of_rows_changes_no_group() -> None:
    hashes = [picture_hash(_picture(0, moved)) for moved in range(0, 40, 2)]
    names = [f"{number:02d}" for number in range(len(hashes))]
    first = [names[row] for row in first_alike(hashes, names)]
    turned = first_alike(hashes[::-1], names[::-1])
    assert [names[::-1][row] for row in turned][::-1] == first
    assert len(set(first)) < len(hashes)


def test_rows_without_a_picture_are_like_none() -> None:
    assert first_alike([None, 5, None, 5], ["b", "c", "a", "d"]).tolist() == [0, 1, 2, 1]
