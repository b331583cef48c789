"""An SDK's client called both ways, so that each case is written once."""

import asyncio

from eyes import PATIENCE


class BothWays:
    """An SDK's client, called the synchronous or the asynchronous way."""

    def __init__(self, way, kinds, **options):
        self.way = way
        plain, awaited = kinds
        options = {"max_retries": 0, "timeout": PATIENCE} | options
        if way == "sync":
            self.client, self.loop = plain(**options), None
        else:
            self.client, self.loop = awaited(**options), asyncio.new_event_loop()

    def run(self, call):
        """Calls the SDK and gives what it returns."""
        if self.loop is None:
            return call(self.client)

        async def awaited():
            return await call(self.client)

        return self.loop.run_until_complete(awaited())

    def collect(self, call):
        """Calls the SDK for something to iterate over, and gives all of it."""
        return list(self.each(call))

    def each(self, call):
        """Calls the SDK for something to iterate over, and iterates one step at a time."""
        stream = self.run(call)
        if self.loop is None:
            yield from stream
            return
        steps = stream.__aiter__()
        while True:
            try:
                item = self.loop.run_until_complete(steps.__anext__())
            except StopAsyncIteration:
                return
            yield item

    def within(self, call, use):
        """Enters what the SDK returns as a context, and hands it to `use`."""
        if self.loop is None:
            with call(self.client) as entered:
                return use(entered)

        async def awaited():
            async with call(self.client) as entered:
                return await use(entered)

        return self.loop.run_until_complete(awaited())

    def finish(self, value):
        """Awaits `value` if it is to be awaited."""
        return value if self.loop is None else self.loop.run_until_complete(value)

    def close(self):
        self.finish(self.client.close())
        if self.loop is not None:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()
