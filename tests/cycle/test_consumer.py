"""A worker that loses Redis while it holds unacknowledged messages reconnects; Celery's consumer exits."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from celery.utils.imports import symbol_by_name
from celery.worker.consumer import Consumer
from kombu import Queue
from redis.exceptions import ConnectionError as RedisAway

from clearing_project.celery import app
from clearing_project.consumer import SteadyConsumer


@pytest.fixture
def name() -> Iterator[str]:
    """A queue of the test's own, deleted afterwards."""
    queue = f"test-{uuid4()}"
    yield queue
    with app.connection_for_write() as connection:
        Queue(queue, channel=connection.default_channel).delete()


def waiting(kind: type, name: str) -> Any:
    """A consumer with an unacknowledged message, whose channel waits for the next one on a dead socket."""
    consumer: Any = object.__new__(kind)
    consumer.app, consumer.connection = app, app.connection_for_read()
    consumer.qos_global, consumer.initial_prefetch_count = False, 1
    consumer.prefetch_multiplier, consumer.pool = 1, SimpleNamespace(num_processes=1)
    channel = consumer.connection.default_channel
    queue = Queue(name, channel=channel)
    with consumer.connection.Producer(channel) as producer:
        producer.publish({"held": True}, routing_key=name, exchange="", declare=[queue])
    assert queue.get(no_ack=False) is not None
    for each in (channel, consumer.connection.channel()):  # the second stands for the one of remote control
        _leave_waiting_on_a_dead_socket(each)
    return consumer


def _leave_waiting_on_a_dead_socket(channel: Any) -> None:
    def read(**_: object) -> None:
        channel._in_poll = None
        raise RedisAway("Connection closed by server.")

    channel._in_poll, channel._brpop_read = object(), read


def test_celery_s_own_consumer_ends_the_worker(name: str) -> None:
    """Once this fails, the defect is repaired and the guard may go."""
    with pytest.raises(AttributeError, match="hostname"):
        waiting(Consumer, name).on_connection_error_after_connected(RedisAway("lost"))


def test_ours_closes_the_connection_and_gives_the_message_back(name: str) -> None:
    consumer = waiting(SteadyConsumer, name)

    consumer.on_connection_error_after_connected(RedisAway("lost"))

    assert consumer.connection is None, "so the worker connects anew"
    with app.connection_for_read() as connection:
        again = Queue(name, channel=connection.default_channel).get(no_ack=True)
    assert again is not None
    assert again.payload == {"held": True}


def test_workers_use_ours() -> None:
    assert symbol_by_name(app.conf.worker_consumer) is SteadyConsumer
