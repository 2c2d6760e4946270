"""Turns on the event loop."""

import asyncio
import itertools

from adapters.host.api.turns import Turns


def test_one_goes_on_in_each_round_in_order_and_whoever_needs_no_turn_at_once() -> None:
    seen: list[object] = []

    async def request(number: int, turns: Turns) -> None:
        await turns.take()
        seen.append(number)

    async def rounds() -> None:
        for _ in range(12):
            seen.append("round")
            await asyncio.sleep(0)

    async def run() -> None:
        turns = Turns()
        requests = [asyncio.create_task(request(number, turns)) for number in range(4)]
        await asyncio.sleep(0)
        requests[1].cancel()
        await asyncio.gather(rounds(), *requests, return_exceptions=True)
        await turns.take()  # those who come later get theirs

    asyncio.run(run())
    answered = [place for place, entry in enumerate(seen) if entry != "round"]
    assert [seen[place] for place in answered] == [0, 2, 3]
    assert all(later - earlier > 1 for earlier, later in itertools.pairwise(answered))
