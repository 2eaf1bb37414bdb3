"""A server on loopback that speaks google.cloud.secretmanager.v1 as far as secrets are read, for the real client.

What the service itself does follows its documentation: `latest` is the highest number, enabled or not; a version that
is disabled or destroyed is FAILED_PRECONDITION; a payload travels with its CRC32C.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import google_crc32c
import grpc
from google.cloud import secretmanager_v1 as api

_SERVICE = "google.cloud.secretmanager.v1.SecretManagerService"
_STATES = api.SecretVersion.State
# Of the servers so far: what was read is kept by address, and a port that comes again would bring it back.
_PORTS: set[int] = set()


@dataclass
class Version:
    payload: bytes
    created_at: datetime
    state: Any = _STATES.ENABLED


@dataclass
class SecretServer:
    """The secrets of one project, and what is wrong with the service just now."""

    address: str = ""
    secrets: dict[str, list[Version]] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)  # secrets that may not be read
    metadata_denied: bool = False  # the role lets payloads be read and nothing else
    failures: list[grpc.StatusCode] = field(default_factory=list)  # the next answers, one each
    down: bool = False  # UNAVAILABLE, until it is taken back
    answering: threading.Event = field(default_factory=threading.Event)  # while it is not set, nobody gets an answer
    damaged: int = 0  # so many payloads arrive changed
    without_checksum: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)  # method and name of every request
    headers: list[dict[str, str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, secret: str, payload: str | bytes, created_at: datetime | None = None) -> int:
        """Add a version and return its number."""
        data = payload.encode() if isinstance(payload, str) else payload
        versions = self.secrets.setdefault(secret, [])
        versions.append(Version(data, created_at or datetime.now(UTC)))
        return len(versions)

    def disable(self, secret: str, number: int) -> None:
        self.secrets[secret][number - 1].state = _STATES.DISABLED

    def enable(self, secret: str, number: int) -> None:
        self.secrets[secret][number - 1].state = _STATES.ENABLED

    def destroy(self, secret: str, number: int) -> None:
        version = self.secrets[secret][number - 1]
        version.state, version.payload = _STATES.DESTROYED, b""

    def accesses(self, secret: str = "") -> int:
        """How often a payload was asked for."""
        return sum(method == "AccessSecretVersion" and f"/{secret}" in name for method, name in self.asked)

    # -- what it answers

    def access(self, request: Any, context: grpc.ServicerContext) -> Any:
        number, version, secret = self._found("AccessSecretVersion", request.name, context)
        if secret in self.denied:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, f"Permission denied on resource {request.name}")
        if version.state != _STATES.ENABLED:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"{request.name} is in {version.state.name} state.")
        data = version.payload
        payload = api.SecretPayload(data=data)
        if not self.without_checksum:
            payload.data_crc32c = google_crc32c.value(data)
        if self.damaged:
            self.damaged -= 1
            payload.data = bytes([data[0] ^ 1]) + data[1:]
        return api.AccessSecretVersionResponse(name=_numbered(request.name, number), payload=payload)

    def get(self, request: Any, context: grpc.ServicerContext) -> Any:
        number, version, _ = self._found("GetSecretVersion", request.name, context)
        if self.metadata_denied:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "secretmanager.versions.get denied")
        return api.SecretVersion(
            name=_numbered(request.name, number), create_time=version.created_at, state=version.state
        )

    def _found(self, method: str, name: str, context: grpc.ServicerContext) -> tuple[int, Version, str]:
        with self._lock:
            self.asked.append((method, name))
            self.headers.append({str(key): str(value) for key, value in context.invocation_metadata()})
            failure = self.failures.pop(0) if self.failures else None
        self.answering.wait()
        if self.down:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the service is away")
        if failure is not None:
            context.abort(failure, "as the test wants it")
        parts = name.split("/")
        secret, told = parts[-3], parts[-1]
        versions = self.secrets.get(secret, [])
        number = len(versions) if told == "latest" else int(told)
        if not 1 <= number <= len(versions):
            context.abort(grpc.StatusCode.NOT_FOUND, f"Secret [{secret}] not found or has no version [{told}]")
        return number, versions[number - 1], secret


def _numbered(name: str, number: int) -> str:
    return f"{name.rpartition('/')[0]}/{number}"


def _handler(answer: Callable[[Any, grpc.ServicerContext], Any], asked: Any, told: Any) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=asked.deserialize, response_serializer=told.serialize
    )


@contextmanager
def secret_server() -> Iterator[SecretServer]:
    """Run the server on a free port of loopback for the length of the block."""
    told = SecretServer()
    told.answering.set()
    methods = {
        "AccessSecretVersion": _handler(told.access, api.AccessSecretVersionRequest, api.AccessSecretVersionResponse),
        "GetSecretVersion": _handler(told.get, api.GetSecretVersionRequest, api.SecretVersion),
    }
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, methods),))
    while (port := server.add_insecure_port("127.0.0.1:0")) in _PORTS:
        continue
    _PORTS.add(port)
    told.address = f"127.0.0.1:{port}"
    server.start()
    try:
        yield told
    finally:
        told.answering.set()
        server.stop(None)
