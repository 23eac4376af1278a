internal import HTTP

/// Why a call to a cluster has no answer.
enum CallFailure {
    /// There is no such cluster.
    case noCluster
    /// The cluster has no host that takes it.
    case noHost
    /// A circuit breaker is open.
    case overflow
    /// No connection came about.
    case connect(String)
    /// The host ended it; `sent`: the request was on the wire.
    case reset(String, refused: Bool)
    /// It took too long.
    case timedOut
    /// What the host sent is too much.
    case tooLarge
    /// What was to be sent is no request.
    case malformed(String)

    /// The same as gRPC says it.
    var status: GRPCStatus {
        switch self {
        case .noCluster: GRPCStatus(.unavailable, "Cluster not available")
        case .noHost: GRPCStatus(.unavailable, "no healthy upstream")
        case .overflow: GRPCStatus(.unavailable, "overflow")
        case .connect(let text), .reset(let text, _): GRPCStatus(.unavailable, text)
        case .timedOut: GRPCStatus(.deadlineExceeded, "the call took too long")
        case .tooLarge: GRPCStatus(.resourceExhausted, "the answer is too large")
        case .malformed(let text): GRPCStatus(.internal, text)
        }
    }

    var isTimeout: Bool { if case .timedOut = self { true } else { false } }
}
