"""Hints to install an extra work for how samebody was installed."""

import json

import pytest

from adapters.commands.installed import adapted, command_for

_CHECKOUT = {"url": "file:///somewhere/samebody", "dir_info": {}}


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, "pip install 'samebody[report]'"),
        ("", "pip install -e '.[report]' (in the checkout)"),
        (json.dumps(_CHECKOUT), "pip install '.[report]' (in the checkout)"),
        (json.dumps(_CHECKOUT | {"dir_info": {"editable": True}}), "pip install -e '.[report]' (in the checkout)"),
        (
            json.dumps({"url": "https://example.org/samebody.whl", "archive_info": {}}),
            "pip install 'samebody[report] @ https://example.org/samebody.whl'",
        ),
        ("broken", "pip install 'samebody[report]'"),
    ],
)
def test_the_command_follows_the_origin(origin: str | None, command: str) -> None:
    assert command_for(origin, "report") == command


def test_every_hint_of_a_message_is_adapted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.commands.installed._origin", lambda: "")
    message = "needs Pillow: pip install 'samebody[report]' or pip install 'samebody[rtmpose-onnx]'; else nothing"
    assert adapted(message) == (
        "needs Pillow: pip install -e '.[report]' (in the checkout) or pip install -e '.[rtmpose-onnx]' (in the "
        "checkout); else nothing"
    )
