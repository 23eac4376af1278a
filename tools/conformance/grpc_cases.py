#!/usr/bin/env python3
"""gRPC through the proxy with a real client and server (PyPI grpcio, grpcio-health-checking, grpcio-reflection).

    tools/conformance/grpc_cases.py PROXY [--streams 1000] [--only NAME]

PROXY is the program; it is started with a configuration of its own (HTTP/2 on both sides). Ends with 1 if a case failed.
"""
import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

CONFIGURATION = """
static_resources:
  listeners:
  - name: ingress
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {listen} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress
          codec_type: AUTO
          http2_protocol_options: {{ max_concurrent_streams: 2000 }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{ prefix: "/nowhere." }}
                route: {{ cluster: nowhere }}
              - match: {{ prefix: "/" }}
                route: {{ cluster: backend, timeout: 0s, max_stream_duration: {{ grpc_timeout_header_max: 0s }} }}
  clusters:
  - name: backend
    type: STATIC
    connect_timeout: 1s
    circuit_breakers: {{ thresholds: [ {{ max_requests: 100000, max_pending_requests: 100000 }} ] }}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ http2_protocol_options: {{}} }}
    load_assignment:
      cluster_name: backend
      endpoints:
      - lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {backend} }} }} }} }} ]
  - name: nowhere
    type: STATIC
    connect_timeout: 1s
    load_assignment:
      cluster_name: nowhere
      endpoints:
      - lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 1 }} }} }} }} ]
"""

LARGE = 16 << 20
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
cancelled = []


class Echo(grpc.GenericRpcHandler):
    """Methods without a schema: bytes in, bytes out."""

    def service(self, details):
        name = details.method.rsplit("/", 1)[-1]
        if name == "Unary":
            return grpc.unary_unary_rpc_method_handler(self.unary)
        if name == "Collect":
            return grpc.stream_unary_rpc_method_handler(self.collect)
        if name == "Spread":
            return grpc.unary_stream_rpc_method_handler(self.spread)
        if name == "Both":
            return grpc.stream_stream_rpc_method_handler(self.both)
        if name == "Fail":
            return grpc.unary_unary_rpc_method_handler(self.fail)
        if name == "Wait":
            return grpc.unary_unary_rpc_method_handler(self.wait)
        return None

    async def unary(self, request, context):
        await context.send_initial_metadata([("x-initial", "1")])
        context.set_trailing_metadata([("x-trailing", "2")])
        return request

    async def collect(self, requests, context):
        total = 0
        async for request in requests:
            total += len(request)
        return str(total).encode()

    async def spread(self, request, context):
        for index in range(int(request)):
            yield b"%d" % index

    async def both(self, requests, context):
        async for request in requests:
            yield request

    async def fail(self, request, context):
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "nein – 100 %")

    async def wait(self, request, context):
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(request)
            raise
        return b""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cases:
    def __init__(self, channel, streams):
        self.channel = channel
        self.streams = streams

    async def unary(self):
        call = self.channel.unary_unary("/t.Echo/Unary")(b"hello")
        assert await call == b"hello"
        assert ("x-initial", "1") in [(key, value) for key, value in await call.initial_metadata()]
        assert ("x-trailing", "2") in [(key, value) for key, value in await call.trailing_metadata()]

    async def large(self):
        message = os.urandom(1 << 20) * (LARGE >> 20)
        assert await self.channel.unary_unary("/t.Echo/Unary")(message) == message

    async def client_stream(self):
        async def requests():
            for _ in range(100):
                yield b"x" * 10_000
        assert await self.channel.stream_unary("/t.Echo/Collect")(requests()) == b"1000000"

    async def server_stream(self):
        received = [int(message) async for message in self.channel.unary_stream("/t.Echo/Spread")(b"1000")]
        assert received == list(range(1000))

    async def both_ways(self):
        call = self.channel.stream_stream("/t.Echo/Both")()
        for index in range(100):
            await call.write(b"%d" % index)
            assert await call.read() == b"%d" % index
        await call.done_writing()
        assert await call.read() == grpc.aio.EOF
        assert await call.code() == grpc.StatusCode.OK

    async def status(self):
        try:
            await self.channel.unary_unary("/t.Echo/Fail")(b"")
            raise AssertionError("no error")
        except grpc.aio.AioRpcError as error:
            assert error.code() == grpc.StatusCode.PERMISSION_DENIED, error
            assert error.details() == "nein – 100 %", error

    async def unimplemented(self):
        try:
            await self.channel.unary_unary("/t.Echo/None")(b"")
            raise AssertionError("no error")
        except grpc.aio.AioRpcError as error:
            assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error

    async def unavailable(self):
        """Trailers-only of the proxy's own."""
        try:
            await self.channel.unary_unary("/nowhere.S/M")(b"")
            raise AssertionError("no error")
        except grpc.aio.AioRpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE, error

    async def deadline(self):
        started = time.monotonic()
        try:
            await self.channel.unary_unary("/t.Echo/Wait")(b"deadline", timeout=0.3)
            raise AssertionError("no error")
        except grpc.aio.AioRpcError as error:
            assert error.code() in (grpc.StatusCode.DEADLINE_EXCEEDED,), error
        assert time.monotonic() - started < 5
        await self.until(lambda: b"deadline" in cancelled)

    async def cancellation(self):
        call = self.channel.unary_unary("/t.Echo/Wait")(b"cancel")
        await asyncio.sleep(0.2)
        call.cancel()
        await self.until(lambda: b"cancel" in cancelled)

    async def until(self, condition):
        for _ in range(100):
            if condition():
                return
            await asyncio.sleep(0.05)
        raise AssertionError("it did not happen")

    async def many_streams(self):
        """All open at once, each with messages both ways."""
        calls = [self.channel.stream_stream("/t.Echo/Both")() for _ in range(self.streams)]
        for round_ in range(3):
            await asyncio.gather(*(call.write(b"%d %d" % (round_, index)) for index, call in enumerate(calls)))
            answers = await asyncio.gather(*(call.read() for call in calls))
            assert answers == [b"%d %d" % (round_, index) for index in range(self.streams)]
        await asyncio.gather(*(call.done_writing() for call in calls))
        assert set(await asyncio.gather(*(call.code() for call in calls))) == {grpc.StatusCode.OK}

    async def health(self):
        answer = await health_pb2_grpc.HealthStub(self.channel).Check(health_pb2.HealthCheckRequest(service="t.Echo"))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING

    async def reflection(self):
        stub = reflection_pb2_grpc.ServerReflectionStub(self.channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        names = [service.name async for answer in call for service in answer.list_services_response.service]
        assert "grpc.health.v1.Health" in names, names


async def run(options):
    listen, backend = free_port(), free_port()
    server = grpc.aio.server(options=OPTIONS + [("grpc.max_concurrent_streams", 5000)])
    server.add_generic_rpc_handlers([Echo()])
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    await servicer.set("t.Echo", health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection(["grpc.health.v1.Health", "t.Echo"], server)
    server.add_insecure_port(f"127.0.0.1:{backend}")
    await server.start()
    failed = 0
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(CONFIGURATION.format(listen=listen, backend=backend))
        file.flush()
        proxy = subprocess.Popen([options.proxy, "-c", file.name, "--concurrency", "1"], stderr=subprocess.DEVNULL)
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{listen}", options=OPTIONS) as channel:
                await asyncio.wait_for(channel.channel_ready(), 20)
                cases = Cases(channel, options.streams)
                names = [name for name in vars(Cases) if not name.startswith("_") and name != "until"]
                for name in names:
                    if options.only and name != options.only:
                        continue
                    started = time.monotonic()
                    try:
                        await asyncio.wait_for(getattr(cases, name)(), 60)
                        print(f"passed {name} ({time.monotonic() - started:.2f} s)")
                    except (AssertionError, grpc.aio.AioRpcError, asyncio.TimeoutError) as error:
                        failed += 1
                        print(f"FAILED {name}: {type(error).__name__} {error}")
        finally:
            proxy.terminate()
            proxy.wait(10)
            await server.stop(0)
    print(f"{failed} failed")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("proxy")
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--only", default="")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
