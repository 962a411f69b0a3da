from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SettlementStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PENDING: _ClassVar[SettlementStatus]
    VALIDATING: _ClassVar[SettlementStatus]
    FUNDS_LOCKED: _ClassVar[SettlementStatus]
    EXECUTING: _ClassVar[SettlementStatus]
    CONFIRMING: _ClassVar[SettlementStatus]
    COMPLETED: _ClassVar[SettlementStatus]
    FAILED: _ClassVar[SettlementStatus]
    ROLLED_BACK: _ClassVar[SettlementStatus]

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NORMAL: _ClassVar[Priority]
    HIGH: _ClassVar[Priority]
    URGENT: _ClassVar[Priority]

class SettlementMethod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SWIFT: _ClassVar[SettlementMethod]
    SEPA: _ClassVar[SettlementMethod]
    LOCAL_ACH: _ClassVar[SettlementMethod]
    MOCK: _ClassVar[SettlementMethod]

class EventType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SETTLEMENT_CREATED: _ClassVar[EventType]
    SETTLEMENT_VALIDATED: _ClassVar[EventType]
    FUNDS_LOCKED_EVENT: _ClassVar[EventType]
    TRANSFER_INITIATED: _ClassVar[EventType]
    TRANSFER_CONFIRMED: _ClassVar[EventType]
    SETTLEMENT_COMPLETED: _ClassVar[EventType]
    SETTLEMENT_FAILED: _ClassVar[EventType]
    SETTLEMENT_ROLLED_BACK: _ClassVar[EventType]
PENDING: SettlementStatus
VALIDATING: SettlementStatus
FUNDS_LOCKED: SettlementStatus
EXECUTING: SettlementStatus
CONFIRMING: SettlementStatus
COMPLETED: SettlementStatus
FAILED: SettlementStatus
ROLLED_BACK: SettlementStatus
NORMAL: Priority
HIGH: Priority
URGENT: Priority
SWIFT: SettlementMethod
SEPA: SettlementMethod
LOCAL_ACH: SettlementMethod
MOCK: SettlementMethod
SETTLEMENT_CREATED: EventType
SETTLEMENT_VALIDATED: EventType
FUNDS_LOCKED_EVENT: EventType
TRANSFER_INITIATED: EventType
TRANSFER_CONFIRMED: EventType
SETTLEMENT_COMPLETED: EventType
SETTLEMENT_FAILED: EventType
SETTLEMENT_ROLLED_BACK: EventType

class SettlementRequest(_message.Message):
    __slots__ = ("obligation_id", "from_bank", "to_bank", "amount", "currency", "settlement_date", "priority", "method", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    OBLIGATION_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_BANK_FIELD_NUMBER: _ClassVar[int]
    TO_BANK_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    SETTLEMENT_DATE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    obligation_id: str
    from_bank: str
    to_bank: str
    amount: str
    currency: str
    settlement_date: int
    priority: Priority
    method: SettlementMethod
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, obligation_id: _Optional[str] = ..., from_bank: _Optional[str] = ..., to_bank: _Optional[str] = ..., amount: _Optional[str] = ..., currency: _Optional[str] = ..., settlement_date: _Optional[int] = ..., priority: _Optional[_Union[Priority, str]] = ..., method: _Optional[_Union[SettlementMethod, str]] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class SettlementResponse(_message.Message):
    __slots__ = ("settlement_id", "status", "reference", "completed_at", "confirmation_code", "message")
    SETTLEMENT_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_AT_FIELD_NUMBER: _ClassVar[int]
    CONFIRMATION_CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    settlement_id: str
    status: SettlementStatus
    reference: str
    completed_at: int
    confirmation_code: str
    message: str
    def __init__(self, settlement_id: _Optional[str] = ..., status: _Optional[_Union[SettlementStatus, str]] = ..., reference: _Optional[str] = ..., completed_at: _Optional[int] = ..., confirmation_code: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class SettlementStatusRequest(_message.Message):
    __slots__ = ("settlement_id",)
    SETTLEMENT_ID_FIELD_NUMBER: _ClassVar[int]
    settlement_id: str
    def __init__(self, settlement_id: _Optional[str] = ...) -> None: ...

class SettlementStatusResponse(_message.Message):
    __slots__ = ("settlement_id", "status", "from_bank", "to_bank", "amount", "currency", "created_at", "completed_at", "error_message", "checkpoints")
    SETTLEMENT_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    FROM_BANK_FIELD_NUMBER: _ClassVar[int]
    TO_BANK_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_AT_FIELD_NUMBER: _ClassVar[int]
    ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    settlement_id: str
    status: SettlementStatus
    from_bank: str
    to_bank: str
    amount: str
    currency: str
    created_at: int
    completed_at: int
    error_message: str
    checkpoints: _containers.RepeatedCompositeFieldContainer[CheckpointInfo]
    def __init__(self, settlement_id: _Optional[str] = ..., status: _Optional[_Union[SettlementStatus, str]] = ..., from_bank: _Optional[str] = ..., to_bank: _Optional[str] = ..., amount: _Optional[str] = ..., currency: _Optional[str] = ..., created_at: _Optional[int] = ..., completed_at: _Optional[int] = ..., error_message: _Optional[str] = ..., checkpoints: _Optional[_Iterable[_Union[CheckpointInfo, _Mapping]]] = ...) -> None: ...

class CheckpointInfo(_message.Message):
    __slots__ = ("name", "timestamp", "status")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    name: str
    timestamp: int
    status: str
    def __init__(self, name: _Optional[str] = ..., timestamp: _Optional[int] = ..., status: _Optional[str] = ...) -> None: ...

class StreamRequest(_message.Message):
    __slots__ = ("settlement_ids", "banks")
    SETTLEMENT_IDS_FIELD_NUMBER: _ClassVar[int]
    BANKS_FIELD_NUMBER: _ClassVar[int]
    settlement_ids: _containers.RepeatedScalarFieldContainer[str]
    banks: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, settlement_ids: _Optional[_Iterable[str]] = ..., banks: _Optional[_Iterable[str]] = ...) -> None: ...

class SettlementEvent(_message.Message):
    __slots__ = ("event_id", "settlement_id", "event_type", "timestamp", "message", "data")
    class DataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    SETTLEMENT_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    settlement_id: str
    event_type: EventType
    timestamp: int
    message: str
    data: _containers.ScalarMap[str, str]
    def __init__(self, event_id: _Optional[str] = ..., settlement_id: _Optional[str] = ..., event_type: _Optional[_Union[EventType, str]] = ..., timestamp: _Optional[int] = ..., message: _Optional[str] = ..., data: _Optional[_Mapping[str, str]] = ...) -> None: ...
