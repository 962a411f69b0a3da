"""
One poller for every stream of this process.

A topic is what streams follow: a region's events, or a window's instructions. The poller reads each
followed topic once a round, however many follow it, and puts what is new into a bounded queue per
stream. Nobody waits for a slow reader: it is cut off once its queue is full.
"""

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

from clearing.rpc.database import Database
from clearing.rpc.errors import AWAY, Exhausted
from clearing.rpc.guard import ReaderTooSlow
from clearing_project.errors import Unavailable

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

POLL_SECONDS = 0.25
ROUNDS_MAX = 64  # 16 s of a topic that never rests
STREAMS_MAX = 2000


class TooManyStreams(Exhausted):
    """This server follows as many streams as it can."""

    code = "too_many_streams"
    fields = ("streams_max",)
    message = "The server has {streams_max} streams already; try again later."


class ServerStopping(Unavailable):
    """The server shuts down; streams go on elsewhere or later."""

    code = "server_stopping"
    message = "The server is stopping. Connect again and go on after the last update that you have."


class Subscription(Generic[Item]):
    """What one stream has still to read: the rounds of its topic, each shared with the other streams."""

    def __init__(self) -> None:
        self._rounds: deque[list[Item]] = deque()
        self._changed = asyncio.Event()
        self._ended = False
        self._failure: Exception | None = None

    def put(self, items: list[Item]) -> None:
        """Add a round, or cut the reader off if it left too many unread."""
        if len(self._rounds) >= ROUNDS_MAX:
            self.fail(ReaderTooSlow())
        elif self._failure is None:
            self._rounds.append(items)
            self._changed.set()

    def fail(self, failure: Exception) -> None:
        """End with *failure*; what is unread is dropped."""
        self._failure = self._failure or failure
        self._rounds.clear()
        self._changed.set()

    def finish(self) -> None:
        """End in order, after what is unread."""
        self._ended = True
        self._changed.set()

    async def items(self) -> AsyncIterator[Item]:
        """
        Yield what comes until the topic ends.

        Raises:
            ReaderTooSlow, ServerStopping
        """
        while True:
            while self._rounds:
                for item in self._rounds.popleft():
                    if self._failure is not None:
                        raise self._failure
                    yield item
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return
            self._changed.clear()
            await self._changed.wait()


class Topic(ABC, Generic[Item]):
    """Something that streams follow. ``start`` and ``read`` run in a thread, the rest in the loop."""

    def __init__(self) -> None:
        self.subscriptions: set[Subscription[Item]] = set()

    @abstractmethod
    def start(self) -> None:
        """Read where the topic stands now."""

    @abstractmethod
    def read(self) -> list[Item]:
        """Read what came since, in order."""

    @property
    def is_over(self) -> bool:
        """Whether nothing will come any more."""
        return False

    def take(self, items: list[Item]) -> None:
        """Hand *items*, which ``read`` returned, to everyone."""
        for subscription in self.subscriptions:
            if items:
                subscription.put(items)
            if self.is_over:
                subscription.finish()

    def fail(self, failure: Exception) -> None:
        """End every stream with *failure*."""
        for subscription in self.subscriptions:
            subscription.fail(failure)


TopicT = TypeVar("TopicT", bound=Topic[Any])


class Hub:
    """The topics that are followed, and the poller over them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._topics: dict[Hashable, Topic[Any]] = {}
        self._streams = 0
        self._stopping = False

    async def run(self) -> None:
        """Poll until cancelled. The database being away delays updates and loses none."""
        while True:
            topics = [topic for topic in self._topics.values() if topic.subscriptions and not topic.is_over]
            try:
                for topic, items in await self._database.call(partial(_read, topics)) if topics else ():
                    if isinstance(items, Exception):
                        topic.fail(items)
                    else:
                        topic.take(items)
            except AWAY as away:
                logger.warning("streams wait for the database: %s", away)
            except Exception:
                logger.exception("a round of the streams failed")
            await asyncio.sleep(POLL_SECONDS)

    @contextlib.asynccontextmanager
    async def follow(
        self, key: Hashable, make: Callable[[], TopicT]
    ) -> AsyncIterator[tuple[TopicT, Subscription[Any]]]:
        """
        Follow the topic of *key*, made by *make* if nobody does yet.

        Raises:
            TooManyStreams, ServerStopping
        """
        if self._stopping:
            raise ServerStopping
        if self._streams >= STREAMS_MAX:
            raise TooManyStreams(STREAMS_MAX)
        self._streams += 1
        try:
            topic: Any = self._topics.get(key)
            if topic is None:
                made = make()
                await self._database.call(made.start)
                topic = self._topics.setdefault(key, made)
            if self._stopping:
                raise ServerStopping
            subscription: Subscription[Any] = Subscription()
            topic.subscriptions.add(subscription)
            if topic.is_over:
                subscription.finish()
            try:
                yield topic, subscription
            finally:
                topic.subscriptions.discard(subscription)
                if not topic.subscriptions and self._topics.get(key) is topic:
                    del self._topics[key]
        finally:
            self._streams -= 1

    def stop(self) -> None:
        """End every stream, and begin none."""
        self._stopping = True
        for topic in self._topics.values():
            topic.fail(ServerStopping())


def _read(topics: list[Topic[Any]]) -> list[tuple[Topic[Any], list[Any] | Exception]]:
    """Read every topic; one that fails does not keep the others from theirs."""
    read: list[tuple[Topic[Any], list[Any] | Exception]] = []
    for topic in topics:
        try:
            read.append((topic, topic.read()))
        except AWAY:
            raise
        except Exception as failure:
            read.append((topic, failure))
    return read
