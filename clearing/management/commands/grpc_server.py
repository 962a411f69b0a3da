"""``manage.py grpc_server``: serve gRPC until told to stop."""

import asyncio
import signal
from typing import Any

from django.conf import settings

from clearing.management.base import ClearingCommand
from clearing.rpc import server, tls


class Command(ClearingCommand):
    help = "Serve gRPC on GRPC_PORT of HTTP_HOST, with mutual TLS if it is set up, until SIGTERM or Ctrl-C."
    requires_system_checks = []  # they would load every page of the web door

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(self._run())
        self.stdout.write("gRPC server stopped")

    async def _run(self) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for told in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(told, stop.set)
        host = f"[{settings.HTTP_HOST}]" if ":" in settings.HTTP_HOST else settings.HTTP_HOST
        await server.run(
            f"{host}:{settings.GRPC_PORT}",
            stop=stop,
            on_ready=self._announce,
            tls=tls.Files(**settings.GRPC_TLS),
        )

    def _announce(self, port: int) -> None:
        self.stdout.write(f"gRPC server ready on port {port}")
        self.stdout.flush()
