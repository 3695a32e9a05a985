"""A client of the service over gRPC, made from the .proto file as a client in any language is."""

from __future__ import annotations

import functools
import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
from fastapi import FastAPI

from tests.places import ROOT
from workbench.rpc import dpdau_pb2 as pb
from workbench.rpc.server import serving_rpc

PROTO = "workbench/rpc/dpdau.proto"


def generate(folder: Path, *options: str) -> None:
    """Run the protocol compiler on the .proto file."""
    import grpc_tools
    from grpc_tools import protoc

    known = Path(grpc_tools.__file__).with_name("_proto")
    outputs = [f"--{option}={folder}" for option in ("python_out", "pyi_out", *options)]
    assert protoc.main(["", f"-I{ROOT}", f"-I{known}", *outputs, str(ROOT / PROTO)]) == 0


@functools.cache
def stubs() -> ModuleType:
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), "grpc_python_out")
        place = Path(folder) / PROTO.replace(".proto", "_pb2_grpc.py")
        spec = importlib.util.spec_from_file_location("stubs", place)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


@contextmanager
def calling(port: int, **options: Any) -> Iterator[Any]:
    """The stub of a channel to a port of this machine."""
    with grpc.insecure_channel(f"127.0.0.1:{port}", **options) as channel:
        yield stubs().ActiveUsersStub(channel)


@contextmanager
def serving(app: FastAPI) -> Iterator[int]:
    """The port of gRPC beside an application."""
    with serving_rpc(app.state.entrance, "127.0.0.1", 0, 1.0) as port:
        yield port


def bearing_key(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


def active(*users: str, day: str = "2026-01-01", op: Any = pb.Event.ADD, **more: Any) -> pb.IngestRequest:
    return pb.IngestRequest(events=[pb.Event(user=user, day=day, op=op) for user in users], **more)


def refused(call: Callable[[], Any], code: grpc.StatusCode, kind: str | None) -> Any:
    """The error, checked: its code, its name, and that it says something."""
    try:
        answer = call()
        # A stream is refused when it is read.
        answer = list(answer) if hasattr(answer, "__iter__") else answer
    except grpc.RpcError as error:
        found: Any = error
    else:
        raise AssertionError(f"it was answered: {answer!r}")
    assert found.code() == code, found
    assert trailing(found).get("dpdau-problem") == kind, found
    assert len(found.details()) > 20
    return found


def trailing(error: Any) -> dict[str, str]:
    return dict(error.trailing_metadata() or ())
