from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetCurrentWindowRequest(_message.Message):
    __slots__ = ("region",)
    REGION_FIELD_NUMBER: _ClassVar[int]
    region: str
    def __init__(self, region: _Optional[str] = ...) -> None: ...

class GetWindowStatusRequest(_message.Message):
    __slots__ = ("window_id",)
    WINDOW_ID_FIELD_NUMBER: _ClassVar[int]
    window_id: int
    def __init__(self, window_id: _Optional[int] = ...) -> None: ...

class GetProcessingResultRequest(_message.Message):
    __slots__ = ("window_id",)
    WINDOW_ID_FIELD_NUMBER: _ClassVar[int]
    window_id: int
    def __init__(self, window_id: _Optional[int] = ...) -> None: ...

class StreamSettlementRequest(_message.Message):
    __slots__ = ("window_id",)
    WINDOW_ID_FIELD_NUMBER: _ClassVar[int]
    window_id: int
    def __init__(self, window_id: _Optional[int] = ...) -> None: ...

class ForceCloseWindowRequest(_message.Message):
    __slots__ = ("window_id", "reason")
    WINDOW_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    window_id: int
    reason: str
    def __init__(self, window_id: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class RollbackRequest(_message.Message):
    __slots__ = ("window_id", "reason")
    WINDOW_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    window_id: int
    reason: str
    def __init__(self, window_id: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class OpenNewWindowRequest(_message.Message):
    __slots__ = ("region", "emergency_mode")
    REGION_FIELD_NUMBER: _ClassVar[int]
    EMERGENCY_MODE_FIELD_NUMBER: _ClassVar[int]
    region: str
    emergency_mode: bool
    def __init__(self, region: _Optional[str] = ..., emergency_mode: _Optional[bool] = ...) -> None: ...

class ProcessWindowRequest(_message.Message):
    __slots__ = ("window_id", "force_settlement")
    WINDOW_ID_FIELD_NUMBER: _ClassVar[int]
    FORCE_SETTLEMENT_FIELD_NUMBER: _ClassVar[int]
    window_id: int
    force_settlement: bool
    def __init__(self, window_id: _Optional[int] = ..., force_settlement: _Optional[bool] = ...) -> None: ...

class StreamWindowRequest(_message.Message):
    __slots__ = ("region",)
    REGION_FIELD_NUMBER: _ClassVar[int]
    region: str
    def __init__(self, region: _Optional[str] = ...) -> None: ...

class EmergencyRequest(_message.Message):
    __slots__ = ("region", "reason", "max_obligations")
    REGION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MAX_OBLIGATIONS_FIELD_NUMBER: _ClassVar[int]
    region: str
    reason: str
    max_obligations: int
    def __init__(self, region: _Optional[str] = ..., reason: _Optional[str] = ..., max_obligations: _Optional[int] = ...) -> None: ...

class OperationStatusRequest(_message.Message):
    __slots__ = ("operation_id",)
    OPERATION_ID_FIELD_NUMBER: _ClassVar[int]
    operation_id: str
    def __init__(self, operation_id: _Optional[str] = ...) -> None: ...

class WindowResponse(_message.Message):
    __slots__ = ("window", "success", "message")
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    window: Window
    success: bool
    message: str
    def __init__(self, window: _Optional[_Union[Window, _Mapping]] = ..., success: _Optional[bool] = ..., message: _Optional[str] = ...) -> None: ...

class WindowStatusResponse(_message.Message):
    __slots__ = ("status", "obligations_count", "total_volume", "netted_volume", "netting_efficiency", "timestamp")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    OBLIGATIONS_COUNT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_VOLUME_FIELD_NUMBER: _ClassVar[int]
    NETTED_VOLUME_FIELD_NUMBER: _ClassVar[int]
    NETTING_EFFICIENCY_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    status: str
    obligations_count: int
    total_volume: str
    netted_volume: str
    netting_efficiency: float
    timestamp: str
    def __init__(self, status: _Optional[str] = ..., obligations_count: _Optional[int] = ..., total_volume: _Optional[str] = ..., netted_volume: _Optional[str] = ..., netting_efficiency: _Optional[float] = ..., timestamp: _Optional[str] = ...) -> None: ...

class WindowCloseResult(_message.Message):
    __slots__ = ("success", "message", "window_id", "closed_at")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    WINDOW_ID_FIELD_NUMBER: _ClassVar[int]
    CLOSED_AT_FIELD_NUMBER: _ClassVar[int]
    success: bool
    message: str
    window_id: int
    closed_at: str
    def __init__(self, success: _Optional[bool] = ..., message: _Optional[str] = ..., window_id: _Optional[int] = ..., closed_at: _Optional[str] = ...) -> None: ...

class ProcessWindowResponse(_message.Message):
    __slots__ = ("success", "message", "window_id", "processing_started_at")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    WINDOW_ID_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    success: bool
    message: str
    window_id: int
    processing_started_at: str
    def __init__(self, success: _Optional[bool] = ..., message: _Optional[str] = ..., window_id: _Optional[int] = ..., processing_started_at: _Optional[str] = ...) -> None: ...

class ClearingResult(_message.Message):
    __slots__ = ("window_id", "status", "obligations_processed", "net_positions", "settlement_instructions", "total_saved", "efficiency", "errors", "processing_time_ms")
    WINDOW_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    OBLIGATIONS_PROCESSED_FIELD_NUMBER: _ClassVar[int]
    NET_POSITIONS_FIELD_NUMBER: _ClassVar[int]
    SETTLEMENT_INSTRUCTIONS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SAVED_FIELD_NUMBER: _ClassVar[int]
    EFFICIENCY_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    window_id: int
    status: str
    obligations_processed: int
    net_positions: _containers.RepeatedCompositeFieldContainer[NetPosition]
    settlement_instructions: _containers.RepeatedCompositeFieldContainer[SettlementInstructionProto]
    total_saved: str
    efficiency: float
    errors: _containers.RepeatedCompositeFieldContainer[ClearingError]
    processing_time_ms: int
    def __init__(self, window_id: _Optional[int] = ..., status: _Optional[str] = ..., obligations_processed: _Optional[int] = ..., net_positions: _Optional[_Iterable[_Union[NetPosition, _Mapping]]] = ..., settlement_instructions: _Optional[_Iterable[_Union[SettlementInstructionProto, _Mapping]]] = ..., total_saved: _Optional[str] = ..., efficiency: _Optional[float] = ..., errors: _Optional[_Iterable[_Union[ClearingError, _Mapping]]] = ..., processing_time_ms: _Optional[int] = ...) -> None: ...

class RollbackResult(_message.Message):
    __slots__ = ("success", "message", "window_id", "rolled_back_at", "operations_rolled_back")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    WINDOW_ID_FIELD_NUMBER: _ClassVar[int]
    ROLLED_BACK_AT_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_ROLLED_BACK_FIELD_NUMBER: _ClassVar[int]
    success: bool
    message: str
    window_id: int
    rolled_back_at: str
    operations_rolled_back: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, success: _Optional[bool] = ..., message: _Optional[str] = ..., window_id: _Optional[int] = ..., rolled_back_at: _Optional[str] = ..., operations_rolled_back: _Optional[_Iterable[str]] = ...) -> None: ...

class OperationStatusResponse(_message.Message):
    __slots__ = ("operation_id", "operation_type", "state", "started_at", "completed_at", "error_message")
    OPERATION_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATION_TYPE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_AT_FIELD_NUMBER: _ClassVar[int]
    ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    operation_id: str
    operation_type: str
    state: str
    started_at: str
    completed_at: str
    error_message: str
    def __init__(self, operation_id: _Optional[str] = ..., operation_type: _Optional[str] = ..., state: _Optional[str] = ..., started_at: _Optional[str] = ..., completed_at: _Optional[str] = ..., error_message: _Optional[str] = ...) -> None: ...

class WindowUpdate(_message.Message):
    __slots__ = ("window_id", "event_type", "timestamp", "details", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    WINDOW_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    window_id: int
    event_type: str
    timestamp: str
    details: str
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, window_id: _Optional[int] = ..., event_type: _Optional[str] = ..., timestamp: _Optional[str] = ..., details: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class SettlementStatusUpdate(_message.Message):
    __slots__ = ("window_id", "settlement_id", "status", "timestamp", "details")
    WINDOW_ID_FIELD_NUMBER: _ClassVar[int]
    SETTLEMENT_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    window_id: int
    settlement_id: str
    status: str
    timestamp: str
    details: str
    def __init__(self, window_id: _Optional[int] = ..., settlement_id: _Optional[str] = ..., status: _Optional[str] = ..., timestamp: _Optional[str] = ..., details: _Optional[str] = ...) -> None: ...

class Window(_message.Message):
    __slots__ = ("id", "start_time", "end_time", "status", "region", "total_obligations", "total_volume", "netted_volume", "saved_amount", "netting_efficiency", "settlement_instructions", "metadata", "created_at", "closed_at", "processed_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    TOTAL_OBLIGATIONS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_VOLUME_FIELD_NUMBER: _ClassVar[int]
    NETTED_VOLUME_FIELD_NUMBER: _ClassVar[int]
    SAVED_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    NETTING_EFFICIENCY_FIELD_NUMBER: _ClassVar[int]
    SETTLEMENT_INSTRUCTIONS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    CLOSED_AT_FIELD_NUMBER: _ClassVar[int]
    PROCESSED_AT_FIELD_NUMBER: _ClassVar[int]
    id: int
    start_time: str
    end_time: str
    status: str
    region: str
    total_obligations: int
    total_volume: str
    netted_volume: str
    saved_amount: str
    netting_efficiency: float
    settlement_instructions: _containers.RepeatedScalarFieldContainer[str]
    metadata: WindowMetadata
    created_at: str
    closed_at: str
    processed_at: str
    def __init__(self, id: _Optional[int] = ..., start_time: _Optional[str] = ..., end_time: _Optional[str] = ..., status: _Optional[str] = ..., region: _Optional[str] = ..., total_obligations: _Optional[int] = ..., total_volume: _Optional[str] = ..., netted_volume: _Optional[str] = ..., saved_amount: _Optional[str] = ..., netting_efficiency: _Optional[float] = ..., settlement_instructions: _Optional[_Iterable[str]] = ..., metadata: _Optional[_Union[WindowMetadata, _Mapping]] = ..., created_at: _Optional[str] = ..., closed_at: _Optional[str] = ..., processed_at: _Optional[str] = ...) -> None: ...

class WindowMetadata(_message.Message):
    __slots__ = ("cutoff_time", "grace_period_seconds", "max_obligations", "min_netting_efficiency", "auto_settle", "emergency_mode", "netting_mode", "transfers", "weights")
    CUTOFF_TIME_FIELD_NUMBER: _ClassVar[int]
    GRACE_PERIOD_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MAX_OBLIGATIONS_FIELD_NUMBER: _ClassVar[int]
    MIN_NETTING_EFFICIENCY_FIELD_NUMBER: _ClassVar[int]
    AUTO_SETTLE_FIELD_NUMBER: _ClassVar[int]
    EMERGENCY_MODE_FIELD_NUMBER: _ClassVar[int]
    NETTING_MODE_FIELD_NUMBER: _ClassVar[int]
    TRANSFERS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    cutoff_time: str
    grace_period_seconds: int
    max_obligations: int
    min_netting_efficiency: float
    auto_settle: bool
    emergency_mode: bool
    netting_mode: str
    transfers: str
    weights: str
    def __init__(self, cutoff_time: _Optional[str] = ..., grace_period_seconds: _Optional[int] = ..., max_obligations: _Optional[int] = ..., min_netting_efficiency: _Optional[float] = ..., auto_settle: _Optional[bool] = ..., emergency_mode: _Optional[bool] = ..., netting_mode: _Optional[str] = ..., transfers: _Optional[str] = ..., weights: _Optional[str] = ...) -> None: ...

class NetPosition(_message.Message):
    __slots__ = ("bank_pair", "currency", "gross_debit", "gross_credit", "net_amount", "direction", "obligations_count", "netting_ratio")
    BANK_PAIR_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    GROSS_DEBIT_FIELD_NUMBER: _ClassVar[int]
    GROSS_CREDIT_FIELD_NUMBER: _ClassVar[int]
    NET_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    OBLIGATIONS_COUNT_FIELD_NUMBER: _ClassVar[int]
    NETTING_RATIO_FIELD_NUMBER: _ClassVar[int]
    bank_pair: BankPair
    currency: str
    gross_debit: str
    gross_credit: str
    net_amount: str
    direction: str
    obligations_count: int
    netting_ratio: float
    def __init__(self, bank_pair: _Optional[_Union[BankPair, _Mapping]] = ..., currency: _Optional[str] = ..., gross_debit: _Optional[str] = ..., gross_credit: _Optional[str] = ..., net_amount: _Optional[str] = ..., direction: _Optional[str] = ..., obligations_count: _Optional[int] = ..., netting_ratio: _Optional[float] = ...) -> None: ...

class BankPair(_message.Message):
    __slots__ = ("bank_a", "bank_b")
    BANK_A_FIELD_NUMBER: _ClassVar[int]
    BANK_B_FIELD_NUMBER: _ClassVar[int]
    bank_a: str
    bank_b: str
    def __init__(self, bank_a: _Optional[str] = ..., bank_b: _Optional[str] = ...) -> None: ...

class SettlementInstructionProto(_message.Message):
    __slots__ = ("id", "window_id", "from_bank", "to_bank", "amount", "currency", "instruction_type", "priority", "deadline", "metadata")
    ID_FIELD_NUMBER: _ClassVar[int]
    WINDOW_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_BANK_FIELD_NUMBER: _ClassVar[int]
    TO_BANK_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTION_TYPE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    id: str
    window_id: int
    from_bank: str
    to_bank: str
    amount: str
    currency: str
    instruction_type: str
    priority: int
    deadline: str
    metadata: str
    def __init__(self, id: _Optional[str] = ..., window_id: _Optional[int] = ..., from_bank: _Optional[str] = ..., to_bank: _Optional[str] = ..., amount: _Optional[str] = ..., currency: _Optional[str] = ..., instruction_type: _Optional[str] = ..., priority: _Optional[int] = ..., deadline: _Optional[str] = ..., metadata: _Optional[str] = ...) -> None: ...

class ClearingError(_message.Message):
    __slots__ = ("error_type", "message", "timestamp", "details")
    ERROR_TYPE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    error_type: str
    message: str
    timestamp: str
    details: str
    def __init__(self, error_type: _Optional[str] = ..., message: _Optional[str] = ..., timestamp: _Optional[str] = ..., details: _Optional[str] = ...) -> None: ...
