"""Micro-batches: requests that come while a prediction runs are answered together by the next one.

An idle service answers at once; nothing ever waits for a batch to fill. Who comes alone skips the
queue, which takes a tenth of such a request.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class LateError(Exception):
    """A request waited too long."""


class Batcher(Generic[Asked, Answer]):
    """Collects requests and hands them on, one batch at a time.

    `work` answers a batch, in its order; an answer may be an exception, which is raised to the one
    who asked. `quick` tells whether a batch is so short that a thread of its own would cost more
    than it gains. At most `limit` requests wait, each for `timeout` seconds.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Asked]], Sequence[Answer | Exception]],
        quick: Callable[[Sequence[Asked]], bool],
        limit: int,
        timeout: float,
    ) -> None:
        self.work, self.quick, self.limit, self.timeout = work, quick, limit, timeout
        self.waiting: list[tuple[Asked, asyncio.Future[Answer]]] = []
        self.running: asyncio.Task[None] | None = None
        self._alone = True  # whether the last request came by itself

    @property
    def full(self) -> bool:
        """Whether the next request would be refused."""
        return len(self.waiting) >= self.limit

    async def ask(self, asked: Asked) -> Answer:
        """Return the answer, when the batch it was part of is through.

        QueueFull where too many wait already, LateError where this one waited too long.
        """
        loop = asyncio.get_running_loop()
        if self._alone and self.running is None and self.quick([asked]):
            self._alone = False  # others that come in this turn of the loop wait for each other
            loop.call_soon(self._turn)
            (answer,) = self.work([asked])
            if isinstance(answer, Exception):
                raise answer
            return answer
        future = self.add(asked)
        alarm = loop.call_later(self.timeout, self._give_up, future)
        try:
            return await future
        finally:
            alarm.cancel()

    def add(self, asked: Asked) -> "asyncio.Future[Answer]":
        """Let it be part of the next batch; QueueFull where too many wait already."""
        if self.full:
            raise asyncio.QueueFull(f"{self.limit} requests are waiting already")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self.waiting.append((asked, future))
        if self.running is None:  # it starts when all that are read in this turn of the loop wait
            self.running = loop.create_task(self._run())
        return future

    def _turn(self) -> None:
        self._alone = self.running is None  # nobody came

    def _give_up(self, future: "asyncio.Future[Answer]") -> None:
        if not future.done():
            future.set_exception(LateError(f"no answer within {self.timeout:g} s"))

    async def _run(self) -> None:
        """Answer batch after batch until nobody waits."""
        while self.waiting:
            waited, self.waiting = self.waiting, []
            batch = [(asked, future) for asked, future in waited if not future.done()]
            asked = [one for one, _ in batch]
            answers: Sequence[Answer | Exception]
            try:
                if self.quick(asked):
                    answers = self.work(asked)
                else:
                    answers = await self._beside(asked)
            except Exception as error:  # noqa: BLE001 - each who asked is told
                answers = [error] * len(batch)
            for (_, future), answer in zip(batch, answers, strict=True):
                if future.done():
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
            self._alone = len(batch) == 1
            await asyncio.sleep(0)  # answers leave, and others are read
        self.running = None

    def _beside(self, asked: Sequence[Asked]) -> "asyncio.Future[Sequence[Answer | Exception]]":
        """Work in a thread that the end of the process does not wait for: a model may be stuck."""
        done: Future[Sequence[Answer | Exception]] = Future()
        done.set_running_or_notify_cancel()  # nobody can cancel what the thread will set

        def work() -> None:
            try:
                done.set_result(self.work(asked))
            except BaseException as error:  # noqa: BLE001 - raised where it is awaited
                done.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        return asyncio.wrap_future(done)
