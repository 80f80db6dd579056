"""Strict receivers of sinks in other people's forms: OTLP over HTTP, Datadog's intake, and Azure's Logs Ingestion API with its
login. Those who made the forms judge them: their own classes decode, and their own clients talk to the same ports."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

from .receivers import Planned, Receiver


def known(message: Any) -> bool:
    """Whether a message has no field that its class lacks, at any depth."""
    if len(UnknownFieldSet(message)):
        return False
    for field, value in message.ListFields():
        if field.message_type is not None:
            parts = [value] if hasattr(value, "ListFields") else list(value)
            if not all(known(part) for part in parts):
                return False
    return True


def attributes(of: Any) -> dict[str, Any]:
    """Attributes of a record or a resource."""
    plain = lambda value: getattr(value, value.WhichOneof("value"))  # noqa: E731
    read = lambda value: [plain(one) for one in value.array_value.values] if value.HasField("array_value") else plain(value)  # noqa: E731
    found = {one.key: read(one.value) for one in of.attributes}
    assert len(found) == len(of.attributes), "an attribute is there twice"
    return found


class Otlp(Receiver):
    """`/v1/logs` and `/v1/traces` in protobuf, decoded by OpenTelemetry's own classes. A poisonous record is dropped, and its
    number is told."""

    token = "otlp-token-0123456789"

    def __init__(self, *, header: tuple[str, str] | None = ("authorization", f"Bearer {token}")) -> None:
        super().__init__()
        self.header = header
        #: Every log record that was taken, as it came.
        self.logs: list[Any] = []
        self.resources: list[dict[str, Any]] = []
        #: Every span that was taken, as it came, and the scope of each request.
        self.spans: list[Any] = []
        self.scopes: list[Any] = []
        #: Whether a span is refused.
        self.poison_span: Callable[[Any], bool] = lambda span: False

    def take(self, path: str, headers: Any, body: bytes) -> Planned:
        """As the specification of OTLP/HTTP has it."""
        assert headers["Content-Type"] == "application/x-protobuf", headers["Content-Type"]
        if self.header and headers[self.header[0]] != self.header[1]:
            return 401, {}, b"no"
        if path == "/v1/traces":
            return self.take_spans(ExportTraceServiceRequest.FromString(body))
        assert path == "/v1/logs", path
        request = ExportLogsServiceRequest.FromString(body)
        assert known(request), "a field that OTLP does not have"
        said, refused = [], 0
        for of in request.resource_logs:
            self.resources.append(attributes(of.resource))
            for scope in of.scope_logs:
                assert scope.scope.name.startswith("countersign/") and scope.scope.version
                for log in scope.log_records:
                    value = json.loads(log.body.string_value)
                    assert log.event_name.startswith("countersign.") and len(log.trace_id) in (0, 16) and len(log.span_id) in (0, 8)
                    if "index" in value and self.poison(value):
                        refused += 1
                        continue
                    if not self.lean:
                        self.logs.append(log)
                    said.append((log.body.string_value, value))
        self.keep(said)
        answer = ExportLogsServiceResponse()
        if refused:
            answer.partial_success.rejected_log_records = refused
            answer.partial_success.error_message = "a record can't be stored"
        return 200, {"Content-Type": "application/x-protobuf"}, answer.SerializeToString()


    def take_spans(self, request: Any) -> Planned:
        """Spans, each with ids and times as they must be."""
        assert known(request), "a field that OTLP does not have"
        refused = 0
        for of in request.resource_spans:
            self.resources.append(attributes(of.resource))
            for scope in of.scope_spans:
                assert scope.scope.name == "countersign/spans" and scope.spans
                self.scopes.append(scope)
                for span in scope.spans:
                    assert len(span.trace_id) == 16 and len(span.span_id) == 8 and len(span.parent_span_id) in (0, 8)
                    assert span.start_time_unix_nano <= span.end_time_unix_nano and span.name
                    if self.poison_span(span):
                        refused += 1
                    else:
                        self.spans.append(span)
        answer = ExportTraceServiceResponse()
        if refused:
            answer.partial_success.rejected_spans = refused
            answer.partial_success.error_message = "a span can't be stored"
        return 200, {"Content-Type": "application/x-protobuf"}, answer.SerializeToString()


class Datadog(Receiver):
    """The intake of logs, version 2: its limits, its key, its answers."""

    key = "0123456789abcdef0123456789abcdef"

    def __init__(self) -> None:
        super().__init__()
        self.logs: list[dict[str, Any]] = []

    def take(self, path: str, headers: Any, body: bytes) -> Planned:
        """202, or why not."""
        no = lambda status, why: (status, {}, json.dumps({"errors": [{"status": str(status), "title": why}]}).encode())  # noqa: E731
        assert path == "/api/v2/logs" and headers["Content-Type"] == "application/json"
        if headers["DD-API-KEY"] != self.key:
            return no(403, "Forbidden")
        if len(body) > 5_000_000:
            return no(413, "Request entity too large")
        logs = json.loads(body)
        if not isinstance(logs, list) or len(logs) > 1000:
            return no(400, "Bad Request")
        said = []
        for log in logs:
            assert set(log) <= {"ddsource", "ddtags", "hostname", "service", "message", "timestamp"} and isinstance(log["message"], str)
            assert len(json.dumps(log).encode()) <= 1_000_000, "Datadog would cut it"
            assert abs(time.time() - log.get("timestamp", time.time() * 1000) / 1000) < 18 * 3600, "Datadog would drop it"
            value = json.loads(log["message"]) if log["message"].startswith("{") else {"foreign": log["message"]}
            if "index" in value and self.poison(value):
                return no(400, "Bad Request")
            said.append((log["message"], value))
        self.logs += [] if self.lean else logs
        self.keep([pair for pair in said if "foreign" not in pair[1]])
        return 202, {}, b"{}"


class Azure(Receiver):
    """Logs Ingestion API, and the login of Microsoft Entra, on one port."""

    directory, client_id, secret = "11111111-2222-3333-4444-555555555555", "99999999-8888-7777-6666-555555555555", "entra~secret.0123"
    rule, stream = "dcr-00112233445566778899aabbccddeeff", "Custom-Countersign_CL"
    columns = {"TimeGenerated", "EntryTime", "Sort", "Origin", "EntryIndex", "LeafHash", "Format", "Record"}

    def __init__(self, certificates: Path | None = None) -> None:
        super().__init__(certificates=certificates)
        self.rows: list[dict[str, Any]] = []
        #: Tokens that were given, in order. Only the last one is good.
        self.tokens: list[str] = []

    def get(self, path: str) -> Planned:
        """What a client of the login asks first."""
        assert path == f"/{self.directory}/v2.0/.well-known/openid-configuration", path
        base = f"{self.url}/{self.directory}"
        said = {"token_endpoint": f"{base}/oauth2/v2.0/token", "authorization_endpoint": f"{base}/oauth2/v2.0/authorize", "issuer": f"{base}/v2.0"}
        return 200, {"Content-Type": "application/json"}, json.dumps(said).encode()

    def take(self, path: str, headers: Any, body: bytes) -> Planned:
        """A token, or rows."""
        if path == f"/{self.directory}/oauth2/v2.0/token":
            return self.login(headers, parse_qs(body.decode(), strict_parsing=True))
        assert path == f"/dataCollectionRules/{self.rule}/streams/{self.stream}?api-version=2023-01-01", path
        no = lambda status, code: (status, {}, json.dumps({"error": {"code": code, "message": code}}).encode())  # noqa: E731
        if not self.tokens or headers["Authorization"] != f"Bearer {self.tokens[-1]}":
            return no(401, "AuthenticationFailed")
        assert headers["Content-Type"] == "application/json"
        body = gzip.decompress(body) if headers["Content-Encoding"] == "gzip" else body
        if len(body) > 1 << 20:
            return no(413, "ContentLengthLimitExceeded")
        rows, said = json.loads(body), []
        assert isinstance(rows, list)
        for row in rows:
            assert set(row) <= self.columns and {"TimeGenerated", "Sort", "Record"} <= set(row), set(row)
            assert isinstance(row["Record"], dict)
            record = json.dumps(row["Record"], ensure_ascii=False, separators=(",", ":"))
            assert len(record.encode()) <= 65_536, "Azure would cut it"
            if "index" in row["Record"]:
                assert (row["EntryIndex"], row["LeafHash"], row["Sort"]) == (row["Record"]["index"], row["Record"]["leaf_hash"], "entry")
                if self.poison(row["Record"]):
                    return no(400, "InvalidRecord")
            if row["Sort"] != "foreign":
                said.append((record, row["Record"]))
        self.rows += [] if self.lean else rows
        self.keep(said)
        return 204, {}, b""

    def login(self, headers: Any, form: dict[str, list[str]]) -> Planned:
        """Client credentials, and nothing else."""
        assert headers["Content-Type"].startswith("application/x-www-form-urlencoded")
        right = (form["client_id"], form["client_secret"]) == ([self.client_id], [self.secret])
        if not right or form["grant_type"] != ["client_credentials"] or form["scope"] != ["https://monitor.azure.com/.default"]:
            return 401, {}, json.dumps({"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided."}).encode()
        self.tokens.append(f"token-{len(self.tokens)}-{'x' * 64}")
        said = {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": self.tokens[-1]}
        return 200, {"Content-Type": "application/json"}, json.dumps(said).encode()
