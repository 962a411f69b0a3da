"""The interceptor before every method of our service: who calls, may they, and what an error looks like."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from inspect import isasyncgenfunction, iscoroutinefunction
from time import monotonic
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc.aio import AbortError, ServerInterceptor, ServicerContext

from clearing.rpc import callers
from clearing.rpc.callers import CALLER
from clearing.rpc.database import Database
from clearing.rpc.errors import ERROR_CODE, Exhausted, NotImplementedHere, RequestMalformed, answer
from clearing_project import trace

logger = logging.getLogger(__name__)

SERVICE = "clearing.ClearingService"
REQUEST_ID = trace.HEADER.lower()  # key of the metadata
WRITE_SECONDS = 10.0
ADMITTED_SECONDS = 30.0

Context = ServicerContext[Any, Any]
Handler = Any  # of any request and answer


class ReaderTooSlow(Exhausted):
    """The reader of a stream does not keep up; it is cut off rather than waited for."""

    code = "reader_too_slow"
    message = "You read too slowly. Connect again and go on after the last update that you have."


class Guard(ServerInterceptor):
    """
    Answers for all methods of our service, so that none has a ``try`` of its own.

    Health and reflection pass: they tell nothing that is not public.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Wrap the method that is called."""
        handler = await continuation(handler_call_details)
        service, _, method = handler_call_details.method.lstrip("/").partition("/")
        if handler is None or service != SERVICE:
            return handler
        # Requests come as bytes, so that one that cannot be read is answered like every other fault.
        codec = {"response_serializer": handler.response_serializer}
        read = partial(_read, handler.request_deserializer)

        async def unary(request: bytes, context: Context) -> Any:
            return await self._unary(method, handler.unary_unary, read(request), context)

        async def stream(request: bytes, context: Context) -> None:
            await self._stream(method, handler.unary_stream, read(request), context)

        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(stream, **codec)
        return grpc.unary_unary_rpc_method_handler(unary, **codec)

    async def _unary(
        self,
        method: str,
        behaviour: Callable[[Any, Context], Awaitable[Any]],
        request: Any,
        context: Context,
    ) -> Any:
        with _traced(method, request, context):
            try:
                await self._admit(method, context)
                if not iscoroutinefunction(behaviour):
                    raise NotImplementedHere(method)
                return await behaviour(_sound(request, method), context)
            except AbortError:
                raise
            except Exception as failure:
                return await _abort(context, failure, method)

    async def _stream(
        self,
        method: str,
        behaviour: Callable[[Any, Context], AsyncGenerator[Any, None]],
        request: Any,
        context: Context,
    ) -> None:
        with _traced(method, request, context):
            try:
                await self._admit(method, context)
                admitted_at = monotonic()
                if not isasyncgenfunction(behaviour):
                    raise NotImplementedHere(method)
                async with aclosing(behaviour(_sound(request, method), context)) as messages:
                    async for message in messages:
                        if monotonic() - admitted_at >= ADMITTED_SECONDS:  # a token may be revoked meanwhile
                            await self._admit(method, context)
                            admitted_at = monotonic()
                        await _write(context, message)
            except AbortError:
                raise
            except Exception as failure:
                await _abort(context, failure, method)

    async def _admit(self, method: str, context: Context) -> None:
        metadata = dict(context.invocation_metadata() or ())
        authorization = metadata.get("authorization", "")
        caller = await self._database.call(partial(callers.authenticate, str(authorization)))
        callers.admit(caller, method)
        CALLER.set(caller)
        trace.bind(caller=caller.name, role=caller.role.value)


@contextmanager
def _traced(method: str, request: Any, context: Context) -> Iterator[None]:
    """Give the call an id, the caller's own if sound; say it in the trailing metadata and in the log."""
    metadata = dict(context.invocation_metadata() or ())
    request_id = trace.accepted(str(metadata.get(REQUEST_ID, "")))
    context.set_trailing_metadata(((REQUEST_ID, request_id),))
    named = {field.name: value for field, value in (request.ListFields() if request is not None else ())}
    with (
        trace.span(f"{SERVICE}/{method}", kind="server", carrier=metadata),
        trace.work(request_id=request_id),
    ):
        trace.bind_ids(named)
        since = monotonic()
        try:
            yield
        finally:
            code = context.code()
            told = {
                "method": method,
                "status": code.name if isinstance(code, grpc.StatusCode) else "OK",
                "took_ms": round((monotonic() - since) * 1000),
            }
            logger.info("call", extra=told)


def _read(deserialize: Callable[[bytes], Any], request: bytes) -> Any:
    """Return the message; None if the bytes are none, which is told once it is known who asks."""
    try:
        return deserialize(request)
    except DecodeError:
        return None


def _sound(request: Any, method: str) -> Any:
    if request is None:
        raise RequestMalformed(method)
    return request


async def _write(context: Context, message: Any) -> None:
    try:
        await asyncio.wait_for(context.write(message), WRITE_SECONDS)
    except TimeoutError:
        raise ReaderTooSlow from None


async def _abort(context: Context, failure: Exception, method: str) -> None:
    status, code, text = answer(failure, method=method)
    request_id = trace.request_id() or ""
    await context.abort(status, text, ((ERROR_CODE, code), (REQUEST_ID, request_id)))
