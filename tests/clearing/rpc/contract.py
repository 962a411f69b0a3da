"""
The interface as it is promised, written down a second time, and a client made of that alone.

Nothing here reads our .proto or our generated code: what this client can talk to, any client generated
from another copy of the promise can.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE, SERVICE = "clearing", "ClearingService"

# name -> request, answer, whether it streams
METHODS: dict[str, tuple[str, str, bool]] = {
    "GetCurrentWindow": ("GetCurrentWindowRequest", "WindowResponse", False),
    "GetWindowStatus": ("GetWindowStatusRequest", "WindowStatusResponse", False),
    "ForceCloseWindow": ("ForceCloseWindowRequest", "WindowCloseResult", False),
    "OpenNewWindow": ("OpenNewWindowRequest", "WindowResponse", False),
    "ProcessWindow": ("ProcessWindowRequest", "ProcessWindowResponse", False),
    "GetProcessingResult": ("GetProcessingResultRequest", "ClearingResult", False),
    "StreamWindowUpdates": ("StreamWindowRequest", "WindowUpdate", True),
    "StreamSettlementStatus": ("StreamSettlementRequest", "SettlementStatusUpdate", True),
    "TriggerEmergencyClearing": ("EmergencyRequest", "ClearingResult", False),
    "RollbackWindow": ("RollbackRequest", "RollbackResult", False),
    "GetOperationStatus": ("OperationStatusRequest", "OperationStatusResponse", False),
}

# name=number:type; [] repeated, map a map of strings, no type a string
MESSAGES: dict[str, str] = {
    "GetCurrentWindowRequest": "region=1",
    "GetWindowStatusRequest": "window_id=1:int64",
    "GetProcessingResultRequest": "window_id=1:int64",
    "StreamSettlementRequest": "window_id=1:int64",
    "ForceCloseWindowRequest": "window_id=1:int64 reason=2",
    "RollbackRequest": "window_id=1:int64 reason=2",
    "OpenNewWindowRequest": "region=1 emergency_mode=2:bool",
    "ProcessWindowRequest": "window_id=1:int64 force_settlement=2:bool",
    "StreamWindowRequest": "region=1",
    "EmergencyRequest": "region=1 reason=2 max_obligations=3:int32",
    "OperationStatusRequest": "operation_id=1",
    "WindowResponse": "window=1:Window success=2:bool message=3",
    "WindowStatusResponse": (
        "status=1 obligations_count=2:int32 total_volume=3 netted_volume=4 netting_efficiency=5:double"
        " timestamp=6"
    ),
    "WindowCloseResult": "success=1:bool message=2 window_id=3:int64 closed_at=4",
    "ProcessWindowResponse": "success=1:bool message=2 window_id=3:int64 processing_started_at=4",
    "ClearingResult": (
        "window_id=1:int64 status=2 obligations_processed=3:int32 net_positions=4:NetPosition[]"
        " settlement_instructions=5:SettlementInstructionProto[] total_saved=6 efficiency=7:double"
        " errors=8:ClearingError[] processing_time_ms=9:int64"
    ),
    "RollbackResult": (
        "success=1:bool message=2 window_id=3:int64 rolled_back_at=4 operations_rolled_back=5:string[]"
    ),
    "OperationStatusResponse": (
        "operation_id=1 operation_type=2 state=3 started_at=4 completed_at=5 error_message=6"
    ),
    "WindowUpdate": "window_id=1:int64 event_type=2 timestamp=3 details=4 metadata=5:map",
    "SettlementStatusUpdate": "window_id=1:int64 settlement_id=2 status=3 timestamp=4 details=5",
    "Window": (
        "id=1:int64 start_time=2 end_time=3 status=4 region=5 total_obligations=6:int32 total_volume=7"
        " netted_volume=8 saved_amount=9 netting_efficiency=10:double settlement_instructions=11:string[]"
        " metadata=12:WindowMetadata created_at=13 closed_at=14 processed_at=15"
    ),
    "WindowMetadata": (
        "cutoff_time=1 grace_period_seconds=2:int64 max_obligations=3:int32 min_netting_efficiency=4:double"
        " auto_settle=5:bool emergency_mode=6:bool"
    ),
    "NetPosition": (
        "bank_pair=1:BankPair currency=2 gross_debit=3 gross_credit=4 net_amount=5 direction=6"
        " obligations_count=7:int32 netting_ratio=8:double"
    ),
    "BankPair": "bank_a=1 bank_b=2",
    "SettlementInstructionProto": (
        "id=1 window_id=2:int64 from_bank=3 to_bank=4 amount=5 currency=6 instruction_type=7"
        " priority=8:int32 deadline=9 metadata=10"
    ),
    "ClearingError": "error_type=1 message=2 timestamp=3 details=4",
}


class Promised(NamedTuple):
    """One field."""

    name: str
    number: int
    type: str
    is_repeated: bool


def fields(message: str) -> Iterator[Promised]:
    """Read the fields of a message."""
    for word in MESSAGES[message].split():
        name, _, rest = word.partition("=")
        number, _, kind = rest.partition(":")
        yield Promised(name, int(number), kind.removesuffix("[]") or "string", kind.endswith("[]"))


class Client:
    """
    Calls by name: ``client.GetWindowStatus(window_id=1)``; an answer or a stream comes back.

    Args:
        token: of the caller; none sends no token.
    """

    def __init__(self, address: str, token: str = "", *, channel: grpc.Channel | None = None) -> None:
        self.channel = channel or grpc.insecure_channel(address)
        self.metadata = (("authorization", f"Bearer {token}"),) if token else ()

    def __getattr__(self, method: str) -> Any:
        request_name, answer_name, streams = METHODS[method]
        open_: Any = self.channel.unary_stream if streams else self.channel.unary_unary
        call = open_(
            f"/{PACKAGE}.{SERVICE}/{method}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=CLASSES[answer_name].FromString,
        )

        def ask(timeout: float = 20, metadata: tuple[tuple[str, str], ...] = (), **values: Any) -> Any:
            request = CLASSES[request_name](**values)
            return call(request, timeout=timeout, metadata=(*self.metadata, *metadata))

        return ask


def _build() -> dict[str, Any]:
    """Make message classes in a pool of their own, so that ours cannot lend a hand."""
    file = descriptor_pb2.FileDescriptorProto(name="promise.proto", package=PACKAGE, syntax="proto3")
    kinds = {"string": 9, "int64": 3, "int32": 5, "double": 1, "bool": 8}
    for name in MESSAGES:
        message = file.message_type.add(name=name)
        for field in fields(name):
            made = message.field.add(
                name=field.name, number=field.number, label=3 if field.is_repeated else 1
            )
            if field.type == "map":
                _entry(message, made)
            elif field.type in kinds:
                made.type = kinds[field.type]  # type: ignore[assignment]
            else:
                made.type, made.type_name = 11, f".{PACKAGE}.{field.type}"  # type: ignore[assignment]
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in MESSAGES
    }


def _entry(message: descriptor_pb2.DescriptorProto, field: descriptor_pb2.FieldDescriptorProto) -> None:
    entry = message.nested_type.add(name=f"{field.name.capitalize()}Entry")
    entry.options.map_entry = True
    for number, name in enumerate(("key", "value"), start=1):
        entry.field.add(name=name, number=number, label=1, type=9)
    field.label, field.type = 3, 11  # type: ignore[assignment]
    field.type_name = f".{PACKAGE}.{message.name}.{entry.name}"


CLASSES = _build()
