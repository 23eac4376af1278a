/// How long a stream may live, as its route and its `grpc-timeout` say (Envoy's `max_stream_duration`).
public struct StreamLimit: Sendable, Hashable {
    /// The limit: nil is for the connection manager to say, zero switches it off unless `isDeadline`.
    public var duration: Duration?
    /// The client has set it by `grpc-timeout`: the upstream is told what became of that.
    public var isDeadline = false

    /// The limit of a request on a route.
    public init(_ forwarding: Forwarding, request: borrowing some RequestView & ~Copyable & ~Escapable) {
        duration = forwarding.maxStreamDuration
        guard let limit = forwarding.grpcStreamMax, let index = request.nextField(named: Self.header, from: 0),
            var wanted = RequestTimeouts.grpcTimeout(request.fieldValue(at: index))
        else { return }
        if limit > .zero { wanted = min(wanted, limit) }
        if let offset = forwarding.grpcStreamOffset { wanted = max(wanted - offset, .zero) }
        duration = wanted
        isDeadline = true
    }

    private static let header = HeaderName("grpc-timeout")
}
