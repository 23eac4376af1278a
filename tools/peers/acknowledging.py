"""A proxy that subscribes on its pod's socket and acknowledges, waits or refuses as it is told: what servers say of it is what is tried."""
import json
import os
import queue
import socket
import threading

import grpc
from envoy.service.discovery.v3 import discovery_pb2

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
TYPES = ["type.googleapis.com/envoy.config.cluster.v3.Cluster", "type.googleapis.com/envoy.config.listener.v3.Listener"]


class Proxy:
    """The proxy of a pod that is only an object, at one control plane (`run_directory`)."""

    def __init__(self, run_directory, name, uid, address, namespace="default", role="sidecar", mode="acknowledge"):
        self.name, self.path = name, os.path.join(run_directory, f"{uid}.sock")
        self.mode, self.held, self.requests = mode, [], queue.Queue()
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(self.path)
        self.listening.listen(16)
        self.agent = socket.socket(socket.AF_UNIX)
        self.agent.connect(os.path.join(run_directory, "agent.sock"))
        line = json.dumps({"op": "xds", "uid": uid, "namespace": namespace, "name": name}) + "\n"
        socket.send_fds(self.agent, [line.encode()], [self.listening.fileno()])
        self.channel = grpc.insecure_channel("unix:" + self.path)
        for kind in TYPES:
            request = discovery_pb2.DiscoveryRequest(type_url=kind)
            request.node.id = f"{role}~{address}~{name}.{namespace}~{namespace}.svc.cluster.local"
            request.node.cluster = f"{name}.{namespace}"
            self.requests.put(request)
        call = self.channel.stream_stream(METHOD, request_serializer=lambda m: m.SerializeToString(),
                                          response_deserializer=discovery_pb2.DiscoveryResponse.FromString)
        self.stream = call(iter(self.requests.get, None))
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        try:
            for response in self.stream:
                if self.mode == "hold":
                    self.held.append(response)
                else:
                    self.answer(response)
        except grpc.RpcError:
            pass  # The server has ended.

    def answer(self, response):
        request = discovery_pb2.DiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce, version_info=response.version_info)
        if self.mode == "refuse":
            request.version_info = ""
            request.error_detail.code, request.error_detail.message = 3, "this proxy refuses on purpose"
        self.requests.put(request)

    def go_on(self, mode="acknowledge"):
        """Answers what was held, and from now on each response at once."""
        self.mode = mode
        while self.held:
            self.answer(self.held.pop(0))

    def close(self):
        self.requests.put(None)
        self.stream.cancel()
        self.channel.close()
        self.listening.close()
        self.agent.close()
