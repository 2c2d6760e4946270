"""Requests take turns on the event loop, so that it looks at the network between any two of them.

An event loop works off everything that is ready before it looks at the network again. When the answers to a hundred
requests are ready at once, or a hundred requests arrive at once, whoever asks for the health in that moment waits for
all of them. With turns it waits for a few.
"""

import asyncio
from collections import deque


class Turns:
    """Whoever takes a turn goes on in the order of asking, one in each round of the event loop. For one loop only."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._giving = False

    async def take(self) -> None:
        """Wait for the next turn of one's own."""
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
