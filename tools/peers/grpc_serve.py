"""A gRPC server that is an xDS client: answers every call with its name and its caller's identity. Arguments: name, address.

Prints `ready` when it has begun; it serves when the control plane has given it a listener.
"""
import concurrent.futures
import sys

import grpc


class Echo(grpc.GenericRpcHandler):
    def __init__(self, name):
        self.name = name

    def service(self, call):
        def say(_, context):
            names = [name.decode() for name in context.peer_identities() or []]
            return " ".join([self.name, *(name for name in names if name.startswith("spiffe://"))]).encode()
        return grpc.unary_unary_rpc_method_handler(say)


def main():
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=8), xds=True)
    server.add_generic_rpc_handlers([Echo(sys.argv[1])])
    server.add_secure_port(sys.argv[2], grpc.xds_server_credentials(grpc.insecure_server_credentials()))
    server.start()
    print("ready", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
