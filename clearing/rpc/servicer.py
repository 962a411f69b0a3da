"""Our service: unary methods go to threads, streams to the hub."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from django.utils import timezone

from clearing import windows
from clearing.events import feed
from clearing.events.feed import Cursor
from clearing.models import WindowEvent
from clearing.rpc import messages
from clearing.rpc.callers import CALLER, Caller
from clearing.rpc.calls import Calls
from clearing.rpc.database import Database
from clearing.rpc.guard import Context
from clearing.rpc.hub import Hub
from clearing.rpc.pb import clearing_pb2 as pb
from clearing.rpc.pb import clearing_pb2_grpc
from clearing.rpc.topics import RegionEvents, Standing, WindowInstructions

RESUME_AFTER, IDEMPOTENCY_KEY = "resume-after", "idempotency-key"  # keys of the metadata
RESULT_SECONDS = 0.1

Answer = TypeVar("Answer")


class ClearingService(clearing_pb2_grpc.ClearingServiceServicer):
    """
    The methods of the interface.

    A stream sends its initial metadata once it follows: from then on nothing is missed.
    """

    def __init__(self, database: Database, hub: Hub) -> None:
        self._database = database
        self._hub = hub

    async def GetCurrentWindow(self, request: pb.GetCurrentWindowRequest, context: Context) -> Any:
        """See proto/clearing.proto, as for every method."""
        return await self._call(Calls.get_current_window, request)

    async def GetWindowStatus(self, request: pb.GetWindowStatusRequest, context: Context) -> Any:
        """Counts and volumes."""
        return await self._call(Calls.get_window_status, request)

    async def ForceCloseWindow(self, request: pb.ForceCloseWindowRequest, context: Context) -> Any:
        """Needs a reason."""
        return await self._call(Calls.force_close_window, request)

    async def OpenNewWindow(self, request: pb.OpenNewWindowRequest, context: Context) -> Any:
        """Never a second one in a region."""
        return await self._call(Calls.open_new_window, request)

    async def ProcessWindow(self, request: pb.ProcessWindowRequest, context: Context) -> Any:
        """Answers when it has begun."""
        return await self._call(Calls.process_window, request)

    async def GetProcessingResult(self, request: pb.GetProcessingResultRequest, context: Context) -> Any:
        """Of a participant, its own positions and instructions."""
        return await self._call(Calls.get_processing_result, request)

    async def TriggerEmergencyClearing(self, request: pb.EmergencyRequest, context: Context) -> Any:
        """Answers with the result; a deadline that ends ends the waiting, never the clearing."""
        calls = Calls(CALLER.get(), at=timezone.now())
        key = dict(context.invocation_metadata() or ()).get(IDEMPOTENCY_KEY)
        start = partial(calls.start_emergency, request, None if key is None else str(key))
        operation = await self._database.call(start)
        while (result := await self._database.call(partial(calls.emergency_result, operation))) is None:
            await asyncio.sleep(RESULT_SECONDS)
        return result

    async def RollbackWindow(self, request: pb.RollbackRequest, context: Context) -> Any:
        """Needs a reason."""
        return await self._call(Calls.rollback_window, request)

    async def GetOperationStatus(self, request: pb.OperationStatusRequest, context: Context) -> Any:
        """Of any operation."""
        return await self._call(Calls.get_operation_status, request)

    async def StreamWindowUpdates(
        self, request: pb.StreamWindowRequest, context: Context
    ) -> AsyncGenerator[pb.WindowUpdate, None]:
        """Send every event of the region, per window in the order of its sequence, each once."""
        caller = CALLER.get()
        region = windows.region(request.region)
        resume_after = dict(context.invocation_metadata() or ()).get(RESUME_AFTER)
        place = partial(feed.resume, region, str(resume_after)) if resume_after else partial(feed.now, region)
        async with self._hub.follow(("region", region), partial(RegionEvents, region)) as (_, subscription):
            cursor = await self._database.call(place)  # after it follows: what comes from here on is queued
            await context.send_initial_metadata(())
            while resume_after:
                missed = await self._database.call(partial(feed.after, region, cursor))
                for event in _updates(missed, cursor):
                    yield messages.window_update(event, cursor, region=region, caller=caller)
                if len(missed) < feed.BATCH_MAX:
                    break
            async for event in subscription.items():
                for update in _updates([event], cursor):
                    yield messages.window_update(update, cursor, region=region, caller=caller)

    async def StreamSettlementStatus(
        self, request: pb.StreamSettlementRequest, context: Context
    ) -> AsyncGenerator[pb.SettlementStatusUpdate, None]:
        """Send where every instruction stands, then each change, and end with the window."""
        caller, window_id = CALLER.get(), request.window_id
        topic = partial(WindowInstructions, window_id)
        async with self._hub.follow(("window", window_id), topic) as (followed, subscription):
            standings = list(followed.standings.values())
            await context.send_initial_metadata(())
            for standing in standings:
                if _may_see(caller, standing):
                    yield messages.settlement_update(window_id, standing)
            async for standing in subscription.items():
                if _may_see(caller, standing):
                    yield messages.settlement_update(window_id, standing)

    async def _call(self, call: Callable[..., Answer], request: Any) -> Answer:
        calls = Calls(CALLER.get(), at=timezone.now())
        return await self._database.call(partial(call, calls, request))


def _may_see(caller: Caller, standing: Standing) -> bool:
    return caller.sees_all or caller.participant_id in (standing.payer_id, standing.payee_id)


def _updates(events: list[WindowEvent], cursor: Cursor) -> Iterator[WindowEvent]:
    """Yield what the reader at *cursor* has not read, one at a time, the cursor moving along."""
    for event in events:
        if cursor.advance(event) and event.event_type in messages.UPDATES:
            yield event
