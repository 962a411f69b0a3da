from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetObligationsRequest(_message.Message):
    __slots__ = ("window_id", "after_sequence", "region", "cutoff_at")
    WINDOW_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    CUTOFF_AT_FIELD_NUMBER: _ClassVar[int]
    window_id: int
    after_sequence: int
    region: str
    cutoff_at: str
    def __init__(self, window_id: _Optional[int] = ..., after_sequence: _Optional[int] = ..., region: _Optional[str] = ..., cutoff_at: _Optional[str] = ...) -> None: ...

class CalculateNettingRequest(_message.Message):
    __slots__ = ("window_id", "without_references", "with_references")
    WINDOW_ID_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_REFERENCES_FIELD_NUMBER: _ClassVar[int]
    WITH_REFERENCES_FIELD_NUMBER: _ClassVar[int]
    window_id: int
    without_references: _containers.RepeatedScalarFieldContainer[str]
    with_references: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, window_id: _Optional[int] = ..., without_references: _Optional[_Iterable[str]] = ..., with_references: _Optional[_Iterable[str]] = ...) -> None: ...

class Obligation(_message.Message):
    __slots__ = ("reference", "payer", "payee", "currency", "amount", "due_date", "priority", "link", "sequence")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    PAYER_FIELD_NUMBER: _ClassVar[int]
    PAYEE_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    DUE_DATE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    reference: str
    payer: str
    payee: str
    currency: str
    amount: str
    due_date: str
    priority: int
    link: str
    sequence: int
    def __init__(self, reference: _Optional[str] = ..., payer: _Optional[str] = ..., payee: _Optional[str] = ..., currency: _Optional[str] = ..., amount: _Optional[str] = ..., due_date: _Optional[str] = ..., priority: _Optional[int] = ..., link: _Optional[str] = ..., sequence: _Optional[int] = ...) -> None: ...

class NettingResponse(_message.Message):
    __slots__ = ("window_id", "obligations_count", "net_positions")
    WINDOW_ID_FIELD_NUMBER: _ClassVar[int]
    OBLIGATIONS_COUNT_FIELD_NUMBER: _ClassVar[int]
    NET_POSITIONS_FIELD_NUMBER: _ClassVar[int]
    window_id: int
    obligations_count: int
    net_positions: _containers.RepeatedCompositeFieldContainer[NetPosition]
    def __init__(self, window_id: _Optional[int] = ..., obligations_count: _Optional[int] = ..., net_positions: _Optional[_Iterable[_Union[NetPosition, _Mapping]]] = ...) -> None: ...

class NetPosition(_message.Message):
    __slots__ = ("participant", "currency", "net_amount")
    PARTICIPANT_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    NET_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    participant: str
    currency: str
    net_amount: str
    def __init__(self, participant: _Optional[str] = ..., currency: _Optional[str] = ..., net_amount: _Optional[str] = ...) -> None: ...
