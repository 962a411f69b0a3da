"""The interface that we publish is the one that was promised, to the number."""

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor

from clearing.rpc.callers import METHODS as GUARDED
from clearing.rpc.pb import clearing_pb2 as pb
from clearing_project.stack.runtime import REPOSITORY
from tests.clearing.rpc import contract

FILE = pb.DESCRIPTOR
ADDED = {"WindowMetadata": ["netting_mode", "transfers", "weights"]}  # after the highest number promised
TYPES = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_BOOL: "bool",
}


def test_the_messages_are_those_promised() -> None:
    assert set(FILE.message_types_by_name) == set(contract.MESSAGES)


@pytest.mark.parametrize("name", contract.MESSAGES)
def test_every_field_has_its_promised_name_number_and_type(name: str) -> None:
    published = [_described(field) for field in FILE.message_types_by_name[name].fields]
    promised = list(contract.fields(name))

    assert published[: len(promised)] == promised
    added = published[len(promised) :]
    assert [each.number for each in added] == list(range(len(promised) + 1, len(published) + 1))
    assert [each.name for each in added] == ADDED.get(name, [])


def test_the_methods_are_those_promised() -> None:
    service = FILE.services_by_name[contract.SERVICE]

    assert FILE.package == contract.PACKAGE
    assert {
        method.name: (method.input_type.name, method.output_type.name, method.server_streaming)
        for method in service.methods
    } == contract.METHODS
    assert not any(method.client_streaming for method in service.methods)


def test_every_method_is_listed_with_the_roles_that_may_call_it() -> None:
    assert set(GUARDED) == set(contract.METHODS)
    assert all(GUARDED.values())


def test_the_committed_code_is_what_the_interface_compiles_to(tmp_path: Path) -> None:
    compile_proto("clearing.proto", into=tmp_path, mapped="clearing/rpc/pb")

    for suffix in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py"):
        path = Path("clearing/rpc/pb") / f"clearing{suffix}"
        assert (tmp_path / path).read_text() == (REPOSITORY / path).read_text(), f"run make proto: {path}"


@pytest.mark.parametrize("name", ["obligation.proto", "settlement.proto"])
def test_the_interfaces_of_other_engines_compile(name: str, tmp_path: Path) -> None:
    compile_proto(name, into=tmp_path)

    assert (tmp_path / name.replace(".proto", "_pb2.py")).exists()


def compile_proto(name: str, *, into: Path, mapped: str = "") -> None:
    """Compile one of our .proto files."""
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", f"{mapped}=proto" if mapped else "proto"]
    outputs = [f"--{kind}_out={into}" for kind in ("python", "pyi", "grpc_python")]
    source = f"{mapped}/{name}" if mapped else name
    subprocess.run([*command, *outputs, source], cwd=REPOSITORY, check=True)


def _described(field: FieldDescriptor) -> contract.Promised:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return contract.Promised(field.name, field.number, "map", is_repeated=False)
    kind = field.message_type.name if field.message_type else TYPES[field.type]
    return contract.Promised(field.name, field.number, kind, field.is_repeated)
