internal import EnvoyAPI
internal import Upstream

/// What of one direction is shown to the processor.
struct ExtProcPart: Sendable, Hashable {
    enum Body: Sendable, Hashable {
        case none, streamed, buffered, bufferedPartial
        /// Everything goes to the processor as it comes, and what comes back is the body.
        case fullDuplex
    }

    var sendsHead: Bool
    var body: Body
    var sendsTrailers: Bool

    var isNothing: Bool { !sendsHead && body == .none && !sendsTrailers }
}

/// A compiled `ProcessingMode`.
struct ExtProcMode: Sendable, Hashable {
    var request: ExtProcPart
    var response: ExtProcPart

    /// Envoy's where nothing is configured: both heads.
    static let standard = ExtProcMode(
        request: ExtProcPart(sendsHead: true, body: .none, sendsTrailers: false),
        response: ExtProcPart(sendsHead: true, body: .none, sendsTrailers: false))

    private init(request: ExtProcPart, response: ExtProcPart) {
        self.request = request
        self.response = response
    }

    init(compiling message: ProcessingMode?, at path: String) throws(ConfigurationError) {
        guard let message else {
            self = .standard
            return
        }
        for (body, trailers, mode, field) in [
            (message.requestBodyMode, message.requestTrailerMode, "request_body_mode", "request_trailer_mode"),
            (message.responseBodyMode, message.responseTrailerMode, "response_body_mode", "response_trailer_mode"),
        ] where body == .fullDuplexStreamed && trailers != .send {
            throw ConfigurationError(
                at: "\(path).\(field)", "must be SEND, since \(mode) is FULL_DUPLEX_STREAMED: trailers are its end")
        }
        self.init(
            request: ExtProcPart(
                sendsHead: Self.sends(message.requestHeaderMode, standard: true),
                body: try Self.body(message.requestBodyMode, at: path + ".request_body_mode"),
                sendsTrailers: Self.sends(message.requestTrailerMode, standard: false)),
            response: ExtProcPart(
                sendsHead: Self.sends(message.responseHeaderMode, standard: true),
                body: try Self.body(message.responseBodyMode, at: path + ".response_body_mode"),
                sendsTrailers: Self.sends(message.responseTrailerMode, standard: false)))
    }

    private static func sends(_ mode: ProcessingMode.HeaderSendMode, standard: Bool) -> Bool {
        switch mode {
        case .send: true
        case .skip: false
        default: standard
        }
    }

    private static func body(
        _ mode: ProcessingMode.BodySendMode, at path: String
    ) throws(ConfigurationError) -> ExtProcPart.Body {
        switch mode {
        case .none: return .none
        case .streamed: return .streamed
        case .buffered: return .buffered
        case .bufferedPartial: return .bufferedPartial
        case .fullDuplexStreamed: return .fullDuplex
        case .grpc:
            throw ConfigurationError(at: path, "GRPC is not supported; use FULL_DUPLEX_STREAMED, STREAMED or BUFFERED")
        case .unrecognized(let number): throw ConfigurationError(at: path, "\(number) is no mode")
        }
    }

    /// The mode as a processor overrides it; nil when it asks for one that there is not.
    ///
    /// The request's head has been dealt with: how it is sent stays as it is.
    func overridden(by message: ProcessingMode) -> ExtProcMode? {
        guard var mode = try? ExtProcMode(compiling: message, at: "") else { return nil }
        mode.request.sendsHead = request.sendsHead
        if case .unrecognized = message.responseHeaderMode { mode.response.sendsHead = response.sendsHead }
        return mode
    }
}

extension ExtProcPart.Body {
    var message: ProcessingMode.BodySendMode {
        switch self {
        case .none: .none
        case .streamed: .streamed
        case .buffered: .buffered
        case .bufferedPartial: .bufferedPartial
        case .fullDuplex: .fullDuplexStreamed
        }
    }
}
