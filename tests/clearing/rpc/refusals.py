"""What a refused call says."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest


def refused(call: Callable[[], Any]) -> tuple[str, str]:
    """Make a call, or read a stream, that must be refused; return status and error code."""
    with pytest.raises(grpc.RpcError) as refusal:
        list(answer) if hasattr(answer := call(), "__next__") else answer
    failure: Any = refusal.value
    codes = [value for key, value in failure.trailing_metadata() if key == "error-code"]
    assert len(codes) <= 1
    return failure.code().name, codes[0] if codes else ""
