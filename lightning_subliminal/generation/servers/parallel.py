"""Calls to a server about many items, several at a time."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from lightning_subliminal.core.console import progress
from lightning_subliminal.generation.servers.calls import Calls
from lightning_subliminal.generation.servers.client import ServerClient
from lightning_subliminal.generation.servers.store import ReplyStore

__all__ = ["ask_each"]

T = TypeVar("T")
R = TypeVar("R")


def ask_each(
    client: ServerClient,
    items: Sequence[T],
    ask: Callable[[Calls, T], Awaitable[R]],
    path: Path,
    title: str | None = None,
) -> list[R]:
    """Call ``ask`` for each item, ``client.concurrency`` at a time, and return the results in their order.

    Args:
        client: the model on the server.
        items: what is asked about.
        ask: an asynchronous function of the calls and one item.
        path: of the store of replies.
        title: of a progress bar; none without it.
    """
    with ReplyStore(path) as store:
        return _run(_ask_each(client, items, ask, store, title))


async def _ask_each(
    client: ServerClient,
    items: Sequence[T],
    ask: Callable[[Calls, T], Awaitable[R]],
    store: ReplyStore,
    title: str | None,
) -> list[R]:
    found: dict[int, R] = {}
    waiting = iter(enumerate(items))
    async with client.connection() as http:
        calls = Calls(client, http, store)
        with progress() if title else contextlib.nullcontext() as bar:
            task = bar.add_task(title or "", total=len(items)) if bar else None

            async def work() -> None:
                for place, item in waiting:
                    found[place] = await ask(calls, item)
                    if bar and task is not None:
                        bar.advance(task)

            workers = [asyncio.create_task(work()) for _ in range(min(client.concurrency, len(items)))]
            try:
                await asyncio.gather(*workers)
            finally:  # after an error the others stop
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
    return [found[place] for place in range(len(items))]


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run in a new event loop; in a thread where one is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

    async def noted() -> T:
        task = asyncio.current_task()
        if task is not None:
            running.append((asyncio.get_running_loop(), task))
        return await work

    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(asyncio.run, noted())
        try:
            return result.result()
        except KeyboardInterrupt:  # else the pool would wait for the end
            for loop, task in running:
                with contextlib.suppress(RuntimeError):  # the loop has just ended
                    loop.call_soon_threadsafe(task.cancel)
            raise
