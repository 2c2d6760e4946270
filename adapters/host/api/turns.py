"""Requests take turns on the event loop, so that it polls the network between any two of them.

An event loop runs everything that is ready before it polls the network again. If a hundred requests arrive at once, or
a hundred answers are ready at once, a health check at that moment waits for all of them. With turns it waits for a few.
"""

import asyncio
from collections import deque


class Turns:
    """Turns in the order of asking, one in each round of the event loop. For one loop only."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._giving = False

    async def take(self) -> None:
        """Wait for the caller's next turn."""
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        if not self._giving:
            self._giving = True
            loop.call_soon(self._give, loop)
        await turn

    def _give(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # its request may have been cancelled
                turn.set_result(None)
                break
        self._giving = bool(self._waiting)
        if self._giving:
            loop.call_soon(self._give, loop)
