"""The HTTP interface: what it does, and what it refuses."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient
from sqlalchemy import update
from sqlalchemy.orm import sessionmaker

from adapters.commands.cli import main
from adapters.host.api import Limits, make_router
from adapters.host.api.models import StatusLabel
from adapters.host.api.standalone import make_app
from adapters.host.database import Base, BodyScore, HostDatabase, ReferenceImage, open_database
from adapters.smpl_optimizer import compute_fitting_consistency, optimize_shared_beta
from benchmarks.http_load import run_load
from engine.body.model import BodyModel
from engine.scores import LABELS
from tests.database_servers import database_url, postgresql  # noqa: F401

TOKEN = "a token"
AUTHORISED = {"Authorization": f"Bearer {TOKEN}"}
LIMITS = Limits(body_bytes=200_000, picture_bytes=1000, references=3, pictures=20, rows=5)


@pytest.fixture
def database(database_url: str):  # noqa: F811
    engine = open_database(database_url)
    Base.metadata.create_all(engine)
    yield HostDatabase(sessionmaker(engine))
    engine.dispose()


@pytest.fixture
def client(database: HostDatabase, anny: BodyModel) -> TestClient:
    app = make_app(database, anny, TOKEN, mode="rest", limits=LIMITS)
    return TestClient(app, base_url="http://127.0.0.1", headers=AUTHORISED)


@pytest.fixture(scope="module")
def people(t_pose_pictures) -> list[dict[str, Any]]:
    points, confidence = t_pose_pictures(np.linspace(-1, 1, 10), 6)
    return [{"keypoints": k.tolist(), "confidence": c.tolist()} for k, c in zip(points, confidence, strict=True)]


def set_references(client: TestClient, people: list[dict[str, Any]], *which: int, name: str = "anna") -> Any:
    references = {
        f"{i}.jpg": {"view": "body_front" if n == 0 else "body_back", **people[i]} for n, i in enumerate(which)
    }
    return client.put(f"/reference-sets/{name}", json={"references": references})


def assert_problem(response: Any, status: int, *words: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    content = response.json()
    assert content["status"] == status
    assert {"title", "detail"} <= content.keys() <= {"title", "detail", "status", "errors"}
    for word in words:
        assert word in response.text


def test_references_then_scores_then_results(client: TestClient, people, anny: BodyModel) -> None:
    state = set_references(client, people, 0, 1).json()
    beta = optimize_shared_beta(people[:2], anny, mode="rest")
    assert state["shape"]["betas"] == beta.tolist()
    assert [(r["image"], r["used"]) for r in state["references"]] == [("0.jpg", True), ("1.jpg", True)]
    assert client.get("/reference-sets/anna").json() == state
    pictures = {"a.jpg": [people[2], people[3]], "empty.jpg": [], "日本 ü/..": [people[0]]}
    answer = client.post("/reference-sets/anna/scores", json={"pictures": pictures}).json()
    assert answer["shape_digest"] == state["shape"]["digest"]
    rows = {(row["image"], row["instance"]): row for row in answer["rows"]}
    assert set(rows) == {("a.jpg", 0), ("a.jpg", 1), ("empty.jpg", -1), ("日本 ü/..", 0)}
    assert rows["a.jpg", 1]["consistency"] == compute_fitting_consistency(people[3], beta, anny, mode="rest")
    assert rows["empty.jpg", -1]["status"] == "no_detection"
    # Stored, once however often it is sent; page by page; and marked when the shape is another.
    assert client.post("/reference-sets/anna/scores", json={"pictures": pictures}).json() == answer
    page = client.get("/reference-sets/anna/scores", params={"limit": 3}).json()
    rest = client.get("/reference-sets/anna/scores", params=page["next"]).json()
    assert rest["next"] is None
    stored = page["rows"] + rest["rows"]
    assert [{name: v for name, v in row.items() if name != "current"} for row in stored] == sorted(
        answer["rows"], key=lambda row: (row["image"], row["instance"])
    )
    assert all(row["current"] for row in stored)
    set_references(client, people, 4)
    again = client.get("/reference-sets/anna/scores").json()["rows"]
    assert len(again) == 4
    assert not any(row["current"] for row in again)


def test_a_set_without_a_shape_says_why(client: TestClient, people) -> None:
    assert_problem(client.get("/reference-sets/anna"), 404, "no reference set anna")
    body = {"pictures": {"a.jpg": [people[0]]}}
    assert_problem(client.post("/reference-sets/anna/scores", json=body), 409, "no fitted shape")
    unseen = {"keypoints": [[0, 0]] * 17, "confidence": [0] * 17}
    in_one_place = {"keypoints": [[9, 9]] * 17, "confidence": [1] * 17}
    for person in (in_one_place, unseen):
        answer = client.put("/reference-sets/anna", json={"references": {"a": {"view": "body_front", **person}}})
        assert answer.status_code == 200
        assert answer.json()["shape"] is None
        assert "none of 1 references can be used" in answer.json()["reason"]
    assert_problem(client.post("/reference-sets/anna/scores", json=body), 409)
    assert client.get("/reference-sets/anna/scores").json() == {"rows": [], "next": None}


def test_damaged_rows_are_named(client: TestClient, database: HostDatabase, people) -> None:
    body = {"pictures": {"a.jpg": [people[0]], "b.jpg": []}}
    for name in ("anna", "bob"):
        set_references(client, people, 0, name=name)
        assert client.post(f"/reference-sets/{name}/scores", json=body).status_code == 200
    with database.sessions.begin() as session:
        damage = {"optimized_beta_blob": np.zeros(10, "<f4").tobytes()}
        session.execute(update(ReferenceImage).where(ReferenceImage.reference_set == "anna").values(damage))
        session.execute(update(BodyScore).where(BodyScore.image == "b.jpg").values(status="perfect"))
    assert_problem(client.post("/reference-sets/anna/scores", json=body), 503, "anna is damaged")
    assert "damaged" in client.get("/reference-sets/anna").json()["reason"]
    assert_problem(client.get("/reference-sets/anna/scores"), 503, "status of image 'b.jpg'")
    assert client.post("/reference-sets/bob/scores", json=body).status_code == 200
    # What was damaged is replaced by what is sent anew.
    set_references(client, people, 0)
    assert client.post("/reference-sets/anna/scores", json=body).status_code == 200
    assert client.get("/reference-sets/anna/scores").status_code == 200


def test_nobody_comes_in_without_the_token(client: TestClient, people) -> None:
    operations = [
        (method, path.replace("{reference_set}", "anna"))
        for path, operations in client.app.openapi()["paths"].items()  # pyright: ignore[reportAttributeAccessIssue]
        for method in operations
    ]
    assert len(operations) == 5
    for method, path in operations:
        if path == "/health":
            assert client.request(method, path, headers={"Authorization": ""}).status_code == 200
            continue
        for wrong in ("", "Bearer ", "Bearer other", "Basic YTpi", "Bearer ünlesbar"):
            answer = client.request(
                method, path, headers={"Authorization": wrong.encode()}, json={"references": {}, "pictures": {}}
            )
            assert_problem(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"


def test_a_router_cannot_be_made_without_authentication(database: HostDatabase, anny: BodyModel) -> None:
    with pytest.raises(TypeError, match="authenticate"):
        make_router(database, anny)  # pyright: ignore[reportCallIssue]

    def authenticate() -> None:
        raise HTTPException(403, "not you")

    app = FastAPI()
    app.include_router(make_router(database, anny, authenticate, mode="rest"), prefix="/bodies")
    with TestClient(app) as client:
        assert_problem(client.get("/bodies/reference-sets/anna"), 403, "not you")
        assert client.get("/bodies/health").json()["status"] == "ok"


def test_only_this_machine_s_names_are_answered(client: TestClient) -> None:
    assert client.get("/health", headers={"Host": "evil.example"}).status_code == 400
    assert client.get("/health", headers={"Host": "localhost:8765"}).status_code == 200


PERSON = json.dumps({"keypoints": [[1, 2]] * 17, "confidence": [1] * 17})
HOSTILE = {
    "nothing": (b"", 422),
    "cut short": (b'{"pictures": {"a"', 422),
    "nested": (b"[" * 100_000, 422),
    "a number without end": (b'{"pictures": ' + b"9" * 100_000 + b"}", 422),
    "no text": (b"\xff\xfe\x00\x01", 422),
    "NaN": (PERSON.replace("[1, 2]", "[NaN, 2]", 1), 422),
    "infinite": (PERSON.replace("[1, 2]", "[1e999, 2]", 1), 422),
    "far away": (PERSON.replace("[1, 2]", "[2e6, 2]", 1), 422),
    "text for numbers": (PERSON.replace("[1, 2]", '["1", 2]', 1), 422),
    "truth for numbers": (PERSON.replace("[1, 2]", "[true, 2]", 1), 422),
    "one keypoint less": (PERSON.replace("[1, 2],", "", 1), 422),
    "sure beyond certainty": (PERSON.replace('"confidence": [1', '"confidence": [1.5'), 422),
    "half a surrogate": (b'{"pictures": {"\\ud800": []}}', 422),
    "a control character": (b'{"pictures": {"a\\u0000b": []}}', 422),
    "a long name": (b'{"pictures": {"' + b"a" * 201 + b'": []}}', 422),
    "no pictures": (b'{"pictures": {}}', 422),
    "too many pictures": (json.dumps({"pictures": {str(i): [] for i in range(21)}}), 422),
    "an unknown field": (b'{"pictures": {"a": []}, "image_path": "/etc/passwd"}', 422),
    "too large": (b" " * 200_001, 413),
}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_is_no_request_is_refused_and_changes_nothing(client: TestClient, people) -> None:
    before = set_references(client, people, 0).json()
    for kind, (content, status) in HOSTILE.items():
        text = content if isinstance(content, bytes) else content.encode()
        if text.startswith(b'{"keypoints"'):
            text = b'{"pictures": {"a": [' + text + b"]}}"
        for headers in ({"content-type": "application/json"}, {"content-type": "text/plain"}, {}):
            answer = client.post("/reference-sets/anna/scores", content=text, headers=headers)
            expected = status if headers.get("content-type") == "application/json" else 415
            assert_problem(answer, expected)
            assert len(answer.content) < 5000, kind

    def unannounced() -> Any:
        for _ in range(100):
            yield b" " * 10_000

    answer = client.post(
        "/reference-sets/anna/scores", content=unannounced(), headers={"content-type": "application/json"}
    )
    assert_problem(answer, 413)
    assert client.get("/reference-sets/anna").json() == before
    assert client.get("/reference-sets/anna/scores").json()["rows"] == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", ["..", "../x", "%2e%2e%2f", "a b", "a\x00", "x" * 65, "ä", "c:\\x"])
def test_names_of_sets_cannot_lead_anywhere(client: TestClient, people, name: str) -> None:
    from urllib.parse import quote

    before = os.listdir()
    for path in (f"/reference-sets/{quote(name, safe='')}", f"/reference-sets/{quote(name)}"):
        answer = client.put(path, json={"references": {"../../x": {"view": "body_front", **people[0]}}})
        assert answer.status_code in (404, 405, 422)
    assert os.listdir() == before


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_unknown_paths_and_methods_are_problems_too(client: TestClient) -> None:
    assert_problem(client.get("/nowhere"), 404)
    answer = client.delete("/reference-sets/anna")
    assert_problem(answer, 405)
    assert answer.headers["allow"] == "GET, PUT"


def test_pictures_as_references(database: HostDatabase, anny: BodyModel, people) -> None:
    """With a detector of the host's; the picture itself goes nowhere else."""

    def detect(encoded: bytes) -> Any:
        if not encoded.startswith(b"picture "):
            raise ValueError("this is no picture")
        number = int(encoded.split()[1])
        return [people[i] for i in range(number)]

    app = FastAPI()
    app.include_router(make_router(database, anny, lambda: None, mode="rest", limits=LIMITS, detect=detect))
    with TestClient(app) as client:

        def put(image: str, content: bytes, view: str = "body_front") -> Any:
            return client.put(f"/reference-sets/anna/references/{image}", params={"view": view}, content=content)

        state = put("a.jpg", b"picture 1").json()
        assert state["shape"]["betas"] == optimize_shared_beta(people[:1], anny, mode="rest").tolist()
        put("b.jpg", b"picture 1", "body_back")
        # Sent again, a picture is replaced, not added.
        state = put("b.jpg", b"picture 1", "face").json()
        assert [(r["image"], r["view"]) for r in state["references"]] == [("a.jpg", "body_front"), ("b.jpg", "face")]
        assert_problem(put("c.jpg", b"noise"), 422, "no picture")
        assert_problem(put("c.jpg", b"picture 0"), 422, "nobody was found")
        assert_problem(put("c.jpg", b"picture 2"), 422, "several people")
        assert_problem(put("c.jpg", b"picture 1" + b" " * 1000), 413)
        assert_problem(put("c.jpg", b"picture 1", "from below"), 422)
        put("c.jpg", b"picture 1")
        assert_problem(put("d.jpg", b"picture 1"), 422, "no more than 3")
        assert len(client.get("/reference-sets/anna").json()["references"]) == 3


def test_without_a_detector_there_are_no_pictures(client: TestClient) -> None:
    assert_problem(client.put("/reference-sets/anna/references/a.jpg?view=body", content=b"picture"), 404)


def test_statuses_are_those_of_the_engine() -> None:
    assert get_args(StatusLabel) == LABELS


def test_serve_needs_the_extra(monkeypatch, capsys) -> None:
    from importlib import util

    find = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "uvicorn" else find(name))
    assert main(["serve"]) == 2
    message = capsys.readouterr().err
    assert "uvicorn" in message
    assert "[api]'" in message


@pytest.mark.slow
def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    """Requests made from the OpenAPI description, well-formed and not, against a running ``samebody serve``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"SAMEBODY_TOKEN": "token"}
    command = [sys.executable, "-m", "adapters.commands.cli", "serve", "--port", str(port), "--pose", "rest"]
    with subprocess.Popen([*command, "--database", str(tmp_path / "s.db")], env=environment) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"{url}/health").close()
                    break
                except OSError:
                    time.sleep(0.2)
            checked = subprocess.run(
                [
                    sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json",
                    "-H", "Authorization: Bearer token", "--max-examples", "10", "--seed", "1", "--no-color",
                ],
                cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
            )  # fmt: skip
        finally:
            server.terminate()
            server.wait(30)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "No issues found" in checked.stdout


@pytest.mark.slow
def test_under_load_no_row_is_lost_or_doubled() -> None:
    result = run_load(clients=16, seconds=4)
    assert set(result.statuses) == {200}
    assert result.failures == []
    assert result.rows_promised > 16
    assert (result.rows_missing, result.rows_doubled) == (0, 0)
    assert result.rows_found == result.rows_promised
    assert len(result.hostile) >= 10
    outcomes = [kind.rsplit(": ", 1) for kind in result.hostile]
    # Nobody waits for the answers to these.
    unread = {"slow header", "slow body", "gone at once"}
    assert {outcome for kind, outcome in outcomes if kind in unread} <= {"sent", "hung up"}
    assert {outcome for kind, outcome in outcomes if kind not in unread} <= {"400", "413", "422", "hung up"}
