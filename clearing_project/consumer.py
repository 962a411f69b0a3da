"""A worker's consumer that survives the loss of Redis."""

from typing import Any

from celery.worker.consumer import Consumer


class SteadyConsumer(Consumer):
    """
    Closes the channel while its connection is still known, so that the worker reconnects and does not exit.

    In Celery and kombu 5.7.0 closing a Redis channel that waits for a message fails at the dead socket and
    leaves it open; it is closed again after its transport forgot the connection, tries to give its
    unacknowledged messages back, and ends the worker: ``'NoneType' object has no attribute 'hostname'``.
    """

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Close the channel, then go on as Celery does. A frozen socket ends by its own time-out."""
        connection: Any = self.connection
        channel = connection._default_channel if connection is not None else None
        if channel is not None:
            for _ in range(2):  # the first may end at the socket that it waits on, the second closes
                connection.maybe_close_channel(channel)
        super().on_connection_error_after_connected(exc)
