"""The settlement engine's interface is the one promised, and the committed code is compiled from it."""

from pathlib import Path

import pytest

from clearing_project.stack.runtime import REPOSITORY
from settlement.rails.pb import settlement_pb2 as pb
from tests.clearing.rpc.test_contract import compile_proto

FILE = pb.DESCRIPTOR
MESSAGES = {
    "SettlementRequest": "obligation_id from_bank to_bank amount currency settlement_date priority"
    " method metadata",
    "SettlementResponse": "settlement_id status reference completed_at confirmation_code message",
    "SettlementStatusRequest": "settlement_id",
    "SettlementStatusResponse": "settlement_id status from_bank to_bank amount currency created_at"
    " completed_at error_message checkpoints",
    "CheckpointInfo": "name timestamp status",
    "StreamRequest": "settlement_ids banks",
    "SettlementEvent": "event_id settlement_id event_type timestamp message data",
}
ENUMS = {
    "SettlementStatus": "PENDING VALIDATING FUNDS_LOCKED EXECUTING CONFIRMING COMPLETED FAILED ROLLED_BACK",
    "Priority": "NORMAL HIGH URGENT",
    "SettlementMethod": "SWIFT SEPA LOCAL_ACH MOCK",
    "EventType": "SETTLEMENT_CREATED SETTLEMENT_VALIDATED FUNDS_LOCKED_EVENT TRANSFER_INITIATED"
    " TRANSFER_CONFIRMED SETTLEMENT_COMPLETED SETTLEMENT_FAILED SETTLEMENT_ROLLED_BACK",
}
METHODS = {
    "ExecuteSettlement": ("SettlementRequest", "SettlementResponse", False),
    "GetSettlementStatus": ("SettlementStatusRequest", "SettlementStatusResponse", False),
    "StreamSettlementEvents": ("StreamRequest", "SettlementEvent", True),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_every_field_has_its_promised_number(name: str) -> None:
    published = {field.name: field.number for field in FILE.message_types_by_name[name].fields}

    assert published == {field: number for number, field in enumerate(MESSAGES[name].split(), start=1)}


@pytest.mark.parametrize("name", ENUMS)
def test_every_value_has_its_promised_number(name: str) -> None:
    published = {value.name: value.number for value in FILE.enum_types_by_name[name].values}

    assert published == {value: number for number, value in enumerate(ENUMS[name].split())}


def test_the_methods_and_the_package_are_those_promised() -> None:
    (service,) = FILE.services_by_name.values()

    assert (FILE.package, service.name) == ("settlement", "SettlementService")
    assert {
        each.name: (each.input_type.name, each.output_type.name, each.server_streaming)
        for each in service.methods
    } == METHODS


def test_the_committed_code_is_what_the_interface_compiles_to(tmp_path: Path) -> None:
    compile_proto("settlement.proto", into=tmp_path, mapped="settlement/rails/pb")

    for suffix in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py"):
        path = Path("settlement/rails/pb") / f"settlement{suffix}"
        assert (tmp_path / path).read_text() == (REPOSITORY / path).read_text(), f"run make proto: {path}"
