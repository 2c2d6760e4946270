"""uvicorn with all of its limits, and with a time-out for headers, which it lacks.

Hosts run their own server; docs/host-guide.md lists its limits and those of a reverse proxy in front of it.
"""

import asyncio
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 1000
HEADER_SECONDS = 20.0
_HEADER_BYTES = 16 << 10
_IDLE_SECONDS = 75
"""Longer than reverse proxies keep connections (nginx: 60 s), so no request arrives while its connection is closed."""
_SHUTDOWN_SECONDS = 30


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that disconnects clients that do not end their headers, or the rest of a refused body, in time."""

    header_seconds = HEADER_SECONDS
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._set_deadline()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        in_header = self.cycle is None or self.cycle.response_complete
        if not in_header:
            self._cancel()
        else:
            self._set_deadline()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        begun, _ = self.conn.trailing_data
        if self.cycle.response_complete and (self.conn.their_state is h11.SEND_BODY or begun):
            self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel()
        super().connection_lost(exc)

    def _set_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.header_seconds, self.transport.close)

    def _cancel(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def settings(app: Any, host: str, port: int) -> uvicorn.Config:
    """uvicorn's settings; a shutdown finishes the requests that are being answered."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=PatientProtocol,
        ws="none",
        log_level="warning",
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        h11_max_incomplete_event_size=_HEADER_BYTES,
    )
