"""Makes gRPC calls on an `xds:///` channel as it is told on standard input, one JSON object a line."""
import collections
import json
import sys

import grpc
import grpc.experimental


def main():
    # Without TLS settings in what the control plane says this is plain text.
    plain = grpc.experimental.insecure_channel_credentials()
    channel = grpc.secure_channel("xds:///" + sys.argv[1], grpc.xds_channel_credentials(plain))
    for line in sys.stdin:
        wish = json.loads(line)
        call = channel.unary_unary(wish["method"])
        results = collections.Counter()
        for _ in range(wish["count"]):
            try:
                answer = call(b"", timeout=wish["seconds"], wait_for_ready=wish["wait_for_ready"],
                              metadata=[tuple(pair) for pair in wish["metadata"]])
                results[answer.decode()] += 1
            except grpc.RpcError as error:
                results[f"{error.code().name}: {error.details()}"] += 1
        print(json.dumps(results), flush=True)


if __name__ == "__main__":
    main()
