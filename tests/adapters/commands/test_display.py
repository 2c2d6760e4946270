"""What is said about progress: the rate and the time that remains, and nothing for short work."""

import pytest

from adapters.commands import display
from adapters.commands.display import progress_text, row_progress


@pytest.mark.parametrize(
    ("done", "expected", "rate", "text"),
    [
        (40_960, 100_000, 210.0, "scoring 40,960 of 100,000 rows, 210 rows/s, 4:41 left"),
        (10, None, 5.0, "scoring 10 rows, 5 rows/s"),
        (0, 100, 0.0, "scoring 0 of 100 rows"),
        (1, 100_001, 10.0, "scoring 1 of 100,001 rows, 10 rows/s, 2:46:40 left"),
        (120, 100, 10.0, "scoring 120 of 100 rows, 10 rows/s, 0:00 left"),
    ],
)
def test_progress_says_rate_and_remaining_time(done: int, expected: int | None, rate: float, text: str) -> None:
    assert progress_text("scoring", done, expected, rate) == text


def test_a_log_gets_a_line_a_minute_and_counts_from_where_the_run_went_on(capsys, monkeypatch) -> None:
    now = 0.0
    monkeypatch.setattr(display.time, "monotonic", lambda: now)
    with row_progress("scoring") as progress:
        progress(1000, 5000)
        for second in range(1, 150):
            now = float(second)
            progress(1000 + 10 * second, 5000)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "samebody: scoring 1,600 of 5,000 rows, 10 rows/s, 5:40 left",
        "samebody: scoring 2,200 of 5,000 rows, 10 rows/s, 4:40 left",
    ]


def test_in_a_pipe_a_table_is_plain_and_a_row_is_a_line(capsys) -> None:
    long = "a state " * 20
    display.print_table("what there is", ("what", "count", "note"), [("one", "1,024", long), ("twelve", "7", "")])
    assert capsys.readouterr().out.splitlines() == [
        "what there is",
        "what    count  note",
        f"one     1,024  {long.rstrip()}",
        "twelve      7",
    ]
