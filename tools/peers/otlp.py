"""A real client and a real collector of OTLP: the messages of opentelemetry-proto over grpcio.

usage: otlp.py receive PORT [SECONDS]   prints each span as a line of JSON, as it comes; ends after so long (120)
       otlp.py metrics          takes metrics over HTTP: prints its port, then each export as a line of JSON; the first one is answered 503
       otlp.py send TARGET      sends two spans of a trace, and prints what the collector answered (TARGET: unix:PATH, HOST:PORT)
"""
import concurrent.futures
import http.server
import json
import os
import sys
import threading
import time

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.trace.v1 import trace_pb2


def text(value):
    return getattr(value, value.WhichOneof("value")) if value.WhichOneof("value") else ""


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    # Exports come at once, from several proxies.
    printing = threading.Lock()

    def Export(self, request, context):
        for resource in request.resource_spans:
            service = next((text(a.value) for a in resource.resource.attributes if a.key == "service.name"), "")
            for scope in resource.scope_spans:
                for span in scope.spans:
                    line = json.dumps({
                        "trace": span.trace_id.hex(), "id": span.span_id.hex(), "parent": span.parent_span_id.hex(), "service": service,
                        "name": span.name, "kind": trace_pb2.Span.SpanKind.Name(span.kind), "start": span.start_time_unix_nano,
                        "end": span.end_time_unix_nano, "attributes": {a.key: text(a.value) for a in span.attributes},
                        "events": [e.name for e in span.events]})
                    with self.printing:
                        print(line, flush=True)
        return trace_service_pb2.ExportTraceServiceResponse()


def receive(port, seconds=120):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Collector(), server)
    server.add_insecure_port(f"0.0.0.0:{port}")
    server.start()
    server.wait_for_termination(timeout=seconds)


def point(data):
    """A value with its labels, and when counting began."""
    found = {"labels": {a.key: text(a.value) for a in data.attributes}, "start": data.start_time_unix_nano, "time": data.time_unix_nano}
    if isinstance(data, metrics_pb2.NumberDataPoint):
        return found | {"value": getattr(data, data.WhichOneof("value"))}
    return found | {"sum": data.sum, "count": data.count, "bounds": list(data.explicit_bounds), "buckets": list(data.bucket_counts)}


def described(metric):
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind)
    cumulative = metrics_pb2.AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    return {"kind": kind, "monotonic": getattr(data, "is_monotonic", False), "cumulative": getattr(data, "aggregation_temporality", None) == cumulative,
            "points": [point(one) for one in data.data_points]}


class MetricReceiver(http.server.BaseHTTPRequestHandler):
    count = 0

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        MetricReceiver.count += 1
        status, answer = (503, b"") if MetricReceiver.count == 1 else (200, metrics_service_pb2.ExportMetricsServiceResponse().SerializeToString())
        request = metrics_service_pb2.ExportMetricsServiceRequest.FromString(body)
        if status == 200:
            print(json.dumps({"path": self.path, "type": self.headers["content-type"],
                              "resource": {a.key: text(a.value) for r in request.resource_metrics for a in r.resource.attributes},
                              "metrics": {m.name: described(m) for r in request.resource_metrics for s in r.scope_metrics for m in s.metrics}}), flush=True)
        self.send_response(status)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def metrics():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), MetricReceiver)
    print(server.server_port, flush=True)
    server.serve_forever()


def send(target):
    trace, now = os.urandom(16), time.time_ns()
    request = trace_service_pb2.ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    attribute = resource.resource.attributes.add()
    attribute.key, attribute.value.string_value = "service.name", "program.default"
    spans = resource.scope_spans.add().spans
    for number, parent in ((1, b""), (2, bytes([1] * 8))):
        span = spans.add()
        span.trace_id, span.span_id, span.parent_span_id = trace, bytes([number] * 8), parent
        span.name, span.kind = f"step {number}", trace_pb2.Span.SPAN_KIND_INTERNAL
        span.start_time_unix_nano, span.end_time_unix_nano = now + number * 1_000_000, now + 10_000_000 - number * 1_000_000
    bad = spans.add()
    bad.name = "without ids"
    # The authority of a unix socket's path is no host name: ours is asked for by one.
    with grpc.insecure_channel(target, options=[("grpc.default_authority", "skein")]) as channel:
        answer = trace_service_pb2_grpc.TraceServiceStub(channel).Export(request, timeout=10)
    print(json.dumps({"trace": trace.hex(), "rejected": answer.partial_success.rejected_spans}))


if sys.argv[1:2] == ["receive"]:
    receive(*map(int, sys.argv[2:4]))
elif sys.argv[1:2] == ["metrics"]:
    metrics()
elif sys.argv[1:2] == ["send"]:
    send(sys.argv[2])
else:
    sys.exit(__doc__)
