"""``samebody serve`` under load on this machine: ``python -m benchmarks.http_load [--clients 200] [--seconds 30]``.

Every client sets references of its own, then scores pictures until the time is up; every fifth request is sent twice,
as a client does that lost the answer. Meanwhile some clients send what nobody should: bodies too large, announced or
not, malformed, nested a hundred thousand deep, numbers without end, foreign content, headers and bodies that never end,
requests whose answers nobody waits for. Another asks for the health again and again. At the end every row that was
promised is counted, page by page. The server's memory and processor time are read from the kernel: on a machine that
does other work too, processor time a request is what two versions can be compared by. All traffic stays on 127.0.0.1.
"""

import asyncio
import http.client
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import httpx2

from benchmarks.metrics import hardware
from benchmarks.rest_pose import random_pictures
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import reduce_body
from engine.body.schemas import COCO_17

TOKEN = "load"
_START_S = 120.0
_TIMEOUT_S = 120.0
_HEADERS = {"Authorization": f"Bearer {TOKEN}"}
_JSON = {"content-type": "application/json"}


@dataclass
class LoadResult:
    """What happened."""

    seconds: float
    statuses: Counter[int] = field(default_factory=Counter)
    """Of well-meant requests."""
    hostile: Counter[str] = field(default_factory=Counter)
    """Kind of body and status."""
    failures: list[str] = field(default_factory=list)
    """Requests without an answer."""
    latencies_s: list[float] = field(default_factory=list)
    rows_promised: int = 0
    rows_found: int = 0
    rows_doubled: int = 0
    rows_missing: int = 0
    memory_mib: list[float] = field(default_factory=list)
    """Of the server: after the first request, then every second."""
    health_s: list[float] = field(default_factory=list)
    """Latencies of the health check."""
    health_failures: list[str] = field(default_factory=list)
    server_cpu_s: float = 0.0


def run_load(clients: int, seconds: float, pose: str = "rest", hostile: int = 1) -> LoadResult:
    """Start a server, load it, stop it.

    Raises:
        RuntimeError: the server did not start.
    """
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        command = [sys.executable, "-m", "adapters.commands.cli", "serve", "--port", str(port), "--pose", pose]
        environment = os.environ | {"SAMEBODY_TOKEN": TOKEN, "PYTHONPATH": str(Path(__file__).parents[1])}
        with (
            open(f"{folder}/log", "w") as log,
            subprocess.Popen([*command, "--database", f"{folder}/load.db"], env=environment, stderr=log) as server,
        ):
            try:
                return asyncio.run(_load(port, server, clients, seconds, hostile))
            finally:
                server.terminate()
                server.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def _load(port: int, server: "subprocess.Popen[bytes]", clients: int, seconds: float, hostile: int) -> LoadResult:
    url = f"http://127.0.0.1:{port}"
    body = reduce_body(load_embedded_body(), COCO_17)
    keypoints, confidence = (array.tolist() for array in random_pictures(body, clients + 2))
    people = [{"keypoints": k, "confidence": c} for k, c in zip(keypoints, confidence, strict=True)]
    most = clients + hostile + 8
    limits = httpx2.Limits(max_connections=most, max_keepalive_connections=most)
    async with httpx2.AsyncClient(base_url=url, headers=_HEADERS, limits=limits, timeout=_TIMEOUT_S) as web:
        await _wait_until_up(web, server)
        result = LoadResult(seconds)
        # What is compiled is compiled before the clock starts.
        await _set_and_score(web, result, "warm", people[0])
        result.latencies_s.clear()
        result.statuses.clear()
        end = time.monotonic() + seconds
        promised: list[set[tuple[str, int]]] = [set() for _ in range(clients)]
        workers = [_client(web, result, i, people[i], end, promised[i]) for i in range(clients)]
        enemies = [task for _ in range(hostile) for task in (_hostile(web, result, end), _slow(port, result, end))]
        cpu_s = _cpu_s(server.pid)
        health = asyncio.to_thread(_ask_for_health, port, result, end)
        await asyncio.gather(*workers, *enemies, _watch(server.pid, result, end), health)
        result.server_cpu_s = _cpu_s(server.pid) - cpu_s
        for i, rows in enumerate(promised):
            await _count(web, result, f"set-{i}", rows)
    return result


async def _wait_until_up(web: httpx2.AsyncClient, server: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + _START_S
    while server.poll() is None and time.monotonic() < end:
        try:
            if (await web.get("/health")).status_code == 200:
                return
        except httpx2.TransportError:
            await asyncio.sleep(0.2)
    raise RuntimeError("the server did not start")


async def _set_and_score(web: httpx2.AsyncClient, result: LoadResult, name: str, person: dict[str, Any]) -> None:
    references = {"references": {"front.jpg": {"view": "body_front", **person}}}
    await _send(web, result, "PUT", f"/reference-sets/{name}", references)
    await _send(web, result, "POST", f"/reference-sets/{name}/scores", {"pictures": {"warm.jpg": [person]}})


async def _client(
    web: httpx2.AsyncClient,
    result: LoadResult,
    number: int,
    person: dict[str, Any],
    end: float,
    promised: set[tuple[str, int]],
) -> None:
    name, sent = f"set-{number}", 0
    references = {"references": {"front.jpg": {"view": "body_front", **person}}}
    await _send(web, result, "PUT", f"/reference-sets/{name}", references)
    while time.monotonic() < end:
        pictures = {f"{sent}-{k}.jpg": [person] * k for k in range(3)}
        for _ in range(2 if sent % 5 == 0 else 1):
            if await _send(web, result, "POST", f"/reference-sets/{name}/scores", {"pictures": pictures}) == 200:
                promised |= {(f"{sent}-0.jpg", -1), (f"{sent}-1.jpg", 0), (f"{sent}-2.jpg", 0), (f"{sent}-2.jpg", 1)}
        if sent % 10 == 0:
            await _send(web, result, "GET", f"/reference-sets/{name}/scores?limit=10", None)
        sent += 1


async def _send(web: httpx2.AsyncClient, result: LoadResult, method: str, path: str, body: Any) -> int | None:
    start = time.monotonic()
    try:
        answer = await web.request(method, path, json=body)
    except httpx2.HTTPError as error:
        result.failures.append(f"{method} {path}: {type(error).__name__}")
        return None
    result.latencies_s.append(time.monotonic() - start)
    result.statuses[answer.status_code] += 1
    return answer.status_code


async def _endless(mebibytes: int) -> AsyncIterator[bytes]:
    """A body that does not say how long it is."""
    for _ in range(16 * mebibytes):
        yield b"[" * 65536


def _bodies() -> dict[str, Any]:
    return {
        "too large, announced": b" " * (8 << 20),
        "too large, not announced": _endless(64),
        "cut short": b'{"pictures": {"a": [',
        "nested": b"[" * 100_000,
        "a number without end": b'{"pictures": ' + b"9" * 1_000_000 + b"}",
        "no text": b"\xff\xfe\x00",
        "NaN": b'{"pictures": {"a": [{"keypoints": NaN, "confidence": [1e999]}]}}',
        "half a surrogate": b'{"pictures": {"\\ud800": []}}',
        "too many": ('{"pictures": {' + ",".join(f'"{i}": []' for i in range(1001)) + "}}").encode(),
        "a path": b'{"pictures": {"a": "/etc/passwd"}}',
    }


async def _hostile(web: httpx2.AsyncClient, result: LoadResult, end: float) -> None:
    while time.monotonic() < end:
        for kind, content in _bodies().items():
            try:
                answer = await web.post("/reference-sets/set-0/scores", content=content, headers=_JSON)
            except httpx2.TransportError:
                # The server hangs up on a body that it will not read to its end.
                result.hostile[f"{kind}: hung up"] += 1
            else:
                result.hostile[f"{kind}: {answer.status_code}"] += 1


async def _slow(port: int, result: LoadResult, end: float) -> None:
    """Headers and a body that never end, and a request whose answer is not waited for."""
    head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
    post = f"POST /reference-sets/nobody/scores HTTP/1.1\r\n{head}"
    whole = '{"pictures": {"left.jpg": []}}'
    beginnings = {
        "slow header": (f"{post}X-Slow: ", True),
        "slow body": (f"{post}Content-Length: 100000\r\n\r\n" + "{", True),
        "gone at once": (f"{post}Content-Length: {len(whole)}\r\n\r\n{whole}", False),
    }
    while time.monotonic() < end:
        for kind, (beginning, goes_on) in beginnings.items():
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(beginning.encode())
                for _ in range(20 if goes_on else 0):
                    await writer.drain()
                    await asyncio.sleep(0.1)
                    writer.write(b" ")
                writer.close()
                result.hostile[f"{kind}: sent"] += 1
            except OSError:
                result.hostile[f"{kind}: hung up"] += 1


def _ask_for_health(port: int, result: LoadResult, end: float) -> None:
    while time.monotonic() < end:
        start = time.monotonic()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
            connection.request("GET", "/health")
            answer = connection.getresponse()
            if answer.status != 200:
                result.health_failures.append(f"{answer.status}: {answer.read().decode()}")
            connection.close()
        except OSError as error:
            result.health_failures.append(type(error).__name__)
        result.health_s.append(time.monotonic() - start)
        time.sleep(0.05)


def _cpu_s(process: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _watch(process: int, result: LoadResult, end: float) -> None:
    while time.monotonic() < end:
        status = Path(f"/proc/{process}/status").read_text()
        if found := re.search(r"VmRSS:\s+(\d+) kB", status):
            result.memory_mib.append(int(found[1]) / 1024)
        await asyncio.sleep(1)


async def _count(web: httpx2.AsyncClient, result: LoadResult, name: str, promised: set[tuple[str, int]]) -> None:
    found: list[tuple[str, int]] = []
    query: dict[str, Any] = {}
    while True:
        page = (await web.get(f"/reference-sets/{name}/scores", params=query)).json()
        found += [(row["image"], row["instance"]) for row in page["rows"]]
        if page["next"] is None:
            break
        query = page["next"]
    result.rows_promised += len(promised)
    result.rows_found += len(found)
    result.rows_doubled += len(found) - len(set(found))
    result.rows_missing += len(promised - set(found))


@click.command()
@click.option("--clients", type=click.IntRange(1, 200), default=200, show_default=True)
@click.option("--seconds", type=click.FloatRange(1, 300), default=30.0, show_default=True)
@click.option("--pose", type=click.Choice(["free", "rest"]), default="rest", show_default=True)
@click.option("--hostile", type=click.IntRange(0, 20), default=10, show_default=True)
def main(clients: int, seconds: float, pose: str, hostile: int) -> None:
    """Load a server of its own and say what happened."""
    click.echo(", ".join(f"{key}: {value}" for key, value in hardware().items()))
    result = run_load(clients, seconds, pose, hostile)
    requests = sum(result.statuses.values())
    percentiles = statistics.quantiles(result.latencies_s, n=100)
    click.echo(f"{clients} clients, {seconds:g} s, pose {pose}: {requests} requests, {requests / seconds:.0f} a second")
    unanswered = dict(Counter(kind.rsplit(": ")[-1] for kind in result.failures))
    click.echo(f"statuses {dict(result.statuses)}; without an answer: {unanswered}")
    click.echo(f"processor time of the server: {1000 * result.server_cpu_s / max(requests, 1):.1f} ms a request")
    health = statistics.quantiles(result.health_s, n=100)
    middle, late = 1000 * health[49], 1000 * health[98]
    click.echo(
        f"health: {len(result.health_s)} times, median {middle:.0f} ms, 99 % within {late:.0f} ms, "
        f"failures: {dict(Counter(result.health_failures))}"
    )
    click.echo(f"latency: median {percentiles[49]:.2f} s, 99 % within {percentiles[98]:.2f} s")
    click.echo(
        f"rows: {result.rows_promised} promised, {result.rows_found} found, {result.rows_missing} missing, "
        f"{result.rows_doubled} doubled"
    )
    memory = result.memory_mib
    quarters = ", ".join(f"{memory[i * (len(memory) - 1) // 4]:.0f}" for i in range(5))
    click.echo(f"memory of the server, MiB, at the start and after each quarter: {quarters}")
    for kind, count in sorted(result.hostile.items()):
        click.echo(f"hostile, {kind}: {count} times")


if __name__ == "__main__":
    main()
