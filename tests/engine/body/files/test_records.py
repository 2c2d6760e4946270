"""JSON of files to typed records."""

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from engine.body.files.records import RecordError, typed_record


@dataclass(frozen=True)
class Inner:
    number: int
    share: float | None = None


@dataclass(frozen=True)
class Outer:
    name: str
    mode: Literal["free", "rest"]
    ready: bool
    inner: tuple[Inner, ...] = field(default=())
    factors: dict[str, float] = field(default_factory=dict)


GOOD: dict[str, Any] = {
    "name": "anna",
    "mode": "free",
    "ready": True,
    "inner": [{"number": 1, "share": 0.5}, {"number": 2, "share": None}],
    "factors": {"nose": 1},
}


def test_a_record_becomes_what_its_annotations_name() -> None:
    made = typed_record(Outer, GOOD)
    assert made == Outer("anna", "free", True, (Inner(1, 0.5), Inner(2)), {"nose": 1.0})
    assert isinstance(made.factors["nose"], float)
    assert typed_record(Outer, {"name": "", "mode": "rest", "ready": False}) == Outer("", "rest", False)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"name": 1}, "name"),
        ({"name": "x" * 20_000}, "name"),
        ({"mode": "t-pose"}, "mode"),
        ({"mode": []}, "mode"),
        ({"ready": 1}, "ready"),
        ({"inner": {}}, "inner"),
        ({"inner": [{"number": 1.5}]}, r"inner\[0\].number"),
        ({"inner": [{"number": True}]}, r"inner\[0\].number"),
        ({"inner": [{"number": 2**40}]}, r"inner\[0\].number"),
        ({"inner": [{"number": 10**400}]}, r"inner\[0\].number"),
        ({"inner": [{"number": 1, "share": float("nan")}]}, r"inner\[0\].share"),
        ({"inner": [{"number": 1, "share": float("inf")}]}, r"inner\[0\].share"),
        ({"inner": [{"number": 1, "share": 10**400}]}, r"inner\[0\].share"),
        ({"inner": [{}]}, r"inner\[0\].number is missing"),
        ({"factors": {"nose": "1"}}, r"factors\.nose"),
        ({"other": 1}, "other"),
    ],
)
def test_another_type_is_refused_with_its_place(change: dict[str, Any], place: str) -> None:
    with pytest.raises(RecordError, match=place) as caught:
        typed_record(Outer, {**GOOD, **change})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("record", [None, [], "anna", 3])
def test_a_record_that_is_none_is_refused(record: Any) -> None:
    with pytest.raises(RecordError, match="expected an object"):
        typed_record(Outer, record)
