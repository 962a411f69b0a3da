"""``manage.py grpc_server``: serve gRPC until told to stop."""

import asyncio
from typing import Any

from django.conf import settings

from clearing.management.base import ClearingCommand
from clearing.rpc import server, tls
from clearing_project import stopping


class Command(ClearingCommand):
    help = "Serve gRPC on GRPC_PORT of HTTP_HOST, with mutual TLS if it is set up, until SIGTERM or Ctrl-C."
    requires_system_checks = []  # they would load every page of the web door

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(self._run())
        self.stdout.write("gRPC server stopped")

    async def _run(self) -> None:
        host = f"[{settings.HTTP_HOST}]" if ":" in settings.HTTP_HOST else settings.HTTP_HOST
        await server.run(
            f"{host}:{settings.GRPC_PORT}",
            stop=stopping.told_in_loop(),
            on_ready=self._announce,
            tls=tls.Files(**settings.GRPC_TLS),
        )

    def _announce(self, port: int) -> None:
        self.stdout.write(f"gRPC server ready on port {port}")
        self.stdout.flush()
