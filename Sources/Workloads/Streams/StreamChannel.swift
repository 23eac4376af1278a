internal import HTTP
internal import Serialization

/// The channels of a container's streams, as Kubernetes numbers them: the first byte of each message
/// (`v5.channel.k8s.io`).
enum StreamChannel {
    static let input: UInt8 = 0
    static let output: UInt8 = 1
    static let errors: UInt8 = 2
    /// How it ended: a `Status` object.
    static let status: UInt8 = 3
    /// The size of the terminal's window.
    static let resize: UInt8 = 4
    /// The end of the channel that the next byte names.
    static let close: UInt8 = 255

    /// Size of a terminal's window, as clients send it: `{"Width":80,"Height":24}`.
    static func size(_ payload: ArraySlice<UInt8>) -> (columns: UInt16, rows: UInt16)? {
        guard payload.count <= 256, let json = try? JSON.parse(Array(payload)),
            let width = (json["Width"] ?? json["width"])?.int.flatMap({ UInt16(exactly: $0) }),
            let height = (json["Height"] ?? json["height"])?.int.flatMap({ UInt16(exactly: $0) })
        else { return nil }
        return (width, height)
    }
}

/// How a command ended, as the `Status` that clients of `exec` wait for.
enum ExecOutcome: Sendable, Hashable {
    case success
    /// With this exit code.
    case exited(Int32)
    /// It could not be run at all.
    case failed(String)

    var status: JSON {
        switch self {
        case .success: ["metadata": [:], "status": "Success"]
        case .exited(let code):
            [
                "metadata": [:], "status": "Failure", "reason": "NonZeroExitCode",
                "message": .string("command terminated with non-zero exit code: exit status \(code)"),
                "details": ["causes": [["reason": "ExitCode", "message": .string(String(code))]]],
            ]
        case .failed(let why):
            [
                "metadata": [:], "status": "Failure", "reason": "InternalError", "code": 500,
                "message": .string("Internal error occurred: error executing command in container: \(why)"),
                "details": ["causes": [["message": .string("error executing command in container: \(why)")]]],
            ]
        }
    }
}

extension WebSocketConnection {
    /// How long the other side may take to close, once it has been told everything.
    static let closingTime = Duration.seconds(2)

    func send(_ channel: UInt8, _ bytes: [UInt8]) async throws(WebSocketError) { try await send([channel] + bytes) }
}
