"""The phases of shutdown, as the server announces them."""

import asyncio


class Lifetime:
    """Two steps: `leaving`, when load balancers should look elsewhere, then `closing`.

    While it leaves, everything is served as ever, only `/readyz` says so. When it closes, nobody
    new gets in, each answer is the last of its connection, and streams end.
    """

    def __init__(self) -> None:
        self.is_leaving = False
        self.is_closing = False
        self._closing = asyncio.Event()

    def leave(self) -> None:
        self.is_leaving = True

    def close(self) -> None:
        self.is_leaving = self.is_closing = True
        self._closing.set()

    async def until_closing(self) -> None:
        await self._closing.wait()
