internal import EnvoyAPI
internal import Serialization

extension HealthCheckConfig {
    init(compiling message: HealthCheck, _ path: FieldPath) throws(ConfigurationError) {
        try FieldCheck.check(
            message, path,
            handles:
                "timeout interval initial_jitter interval_jitter interval_jitter_percent unhealthy_threshold healthy_threshold alt_port http_health_check tcp_health_check grpc_health_check custom_health_check no_traffic_interval no_traffic_healthy_interval unhealthy_interval unhealthy_edge_interval healthy_edge_interval"
        )
        func required(_ duration: Duration?, _ field: String) throws(ConfigurationError) -> Duration {
            guard let duration, duration > .zero else {
                throw (path / field).error("must be there and above 0")
            }
            return duration
        }
        func optional(_ duration: Duration?, _ field: String) throws(ConfigurationError) -> Duration? {
            guard duration != nil else { return nil }
            return try required(duration, field)
        }
        guard let unhealthy = message.unhealthyThreshold else {
            throw (path / "unhealthy_threshold").error("is missing")
        }
        guard let healthy = message.healthyThreshold else { throw (path / "healthy_threshold").error("is missing") }
        self.init(
            kind: try Self.kind(message, path), timeout: try required(message.timeout, "timeout"),
            interval: try required(message.interval, "interval"), unhealthyThreshold: max(unhealthy, 1),
            healthyThreshold: max(healthy, 1))
        initialJitter = try .checked(message.initialJitter, default: .zero, path / "initial_jitter")
        intervalJitter = try .checked(message.intervalJitter, default: .zero, path / "interval_jitter")
        intervalJitterPercent = message.intervalJitterPercent
        noTrafficInterval = try optional(message.noTrafficInterval, "no_traffic_interval") ?? .seconds(60)
        noTrafficHealthyInterval = try optional(message.noTrafficHealthyInterval, "no_traffic_healthy_interval")
        unhealthyInterval = try optional(message.unhealthyInterval, "unhealthy_interval")
        unhealthyEdgeInterval = try optional(message.unhealthyEdgeInterval, "unhealthy_edge_interval")
        healthyEdgeInterval = try optional(message.healthyEdgeInterval, "healthy_edge_interval")
        if let value = message.altPort {
            guard let number = UInt16(exactly: value), number > 0 else {
                throw (path / "alt_port").error("\(value) is no port")
            }
            port = number
        }
    }

    private static func kind(_ message: HealthCheck, _ path: FieldPath) throws(ConfigurationError) -> Kind {
        switch message.healthChecker {
        case .httpHealthCheck(let check): return .http(try http(check, path / "http_health_check"))
        case .tcpHealthCheck(let check):
            let place = path / "tcp_health_check"
            try FieldCheck.check(check, place, handles: "send receive")
            var receive: [[UInt8]] = []
            for (index, payload) in check.receive.enumerated() {
                receive.append(try bytes(payload, (place / "receive")[index]))
            }
            guard let send = check.send else { return .tcp(send: [], receive: receive) }
            return .tcp(send: try bytes(send, place / "send"), receive: receive)
        case .grpcHealthCheck(let check):
            let place = path / "grpc_health_check"
            try FieldCheck.check(check, place, handles: "service_name authority")
            var compiled = GRPCCheck()
            compiled.service = check.serviceName
            if !check.authority.isEmpty {
                compiled.authority = String(
                    decoding: try Forwarding.checkedHost(check.authority, place / "authority"), as: UTF8.self)
            }
            return .grpc(compiled)
        case .customHealthCheck: throw (path / "custom_health_check").unsupported()
        case nil: throw path.error("has no checker: set http_health_check or tcp_health_check")
        }
    }

    private static func http(
        _ message: HealthCheck.HttpHealthCheck, _ path: FieldPath
    ) throws(ConfigurationError) -> HTTPCheck {
        try FieldCheck.check(
            message, path,
            handles:
                "host path send receive response_buffer_size service_name_matcher request_headers_to_add request_headers_to_remove expected_statuses retriable_statuses codec_client_type method"
        )
        var check = HTTPCheck()
        guard message.path.hasPrefix("/") else { throw (path / "path").error("must begin with a slash") }
        check.path = String(decoding: try Forwarding.checkedTarget(message.path, path / "path"), as: UTF8.self)
        if !message.host.isEmpty {
            check.host = String(decoding: try Forwarding.checkedHost(message.host, path / "host"), as: UTF8.self)
        }
        switch message.method {
        case .methodUnspecified: break
        case .connect: throw (path / "method").error("CONNECT checks nothing")
        case .unrecognized(let number): throw (path / "method").error("\(number) is no method")
        default: check.method = message.method.protoName
        }
        if let payload = message.send {
            check.send = try bytes(payload, path / "send")
            guard check.send.isEmpty || Self.methodsWithBody.contains(check.method) else {
                throw (path / "send").error("a request of method \(check.method) has no body")
            }
        }
        check.requestMutations = try HeaderMutation.list(
            add: message.requestHeadersToAdd, path / "request_headers_to_add",
            remove: message.requestHeadersToRemove, path / "request_headers_to_remove")
        for (index, mutation) in check.requestMutations.enumerated() where !mutation.isConstant {
            throw (path / "request_headers_to_add")[index].unsupported("a health check has no request to format")
        }
        for (index, payload) in message.receive.enumerated() {
            check.receive.append(try bytes(payload, (path / "receive")[index]))
        }
        if let size = message.responseBufferSize {
            check.bodyBytesMax = size == 0 ? Self.bodyBytesLimit : min(Int(clamping: size), Self.bodyBytesLimit)
        }
        if let matcher = message.serviceNameMatcher {
            check.serviceName = try StringMatcher(compiling: matcher, path / "service_name_matcher")
        }
        check.expectedStatuses = try statuses(message.expectedStatuses, path / "expected_statuses")
        check.retriableStatuses = try statuses(message.retriableStatuses, path / "retriable_statuses")
        switch message.codecClientType {
        case .http1: check.codec = .http1
        case .http2: throw (path / "codec_client_type").unsupported("HTTP2")
        case .http3: throw (path / "codec_client_type").unsupported("HTTP3")
        case .unrecognized(let number): throw (path / "codec_client_type").error("\(number) is no codec")
        }
        return check
    }

    private static let methodsWithBody: Set<String> = ["POST", "PUT", "PATCH", "OPTIONS"]

    /// No more of an answer is kept, whatever is configured.
    private static let bodyBytesLimit = 1 << 20

    private static func statuses(
        _ ranges: [Int64Range], _ path: FieldPath
    ) throws(ConfigurationError) -> [Range<UInt16>] {
        var result: [Range<UInt16>] = []
        for (index, range) in ranges.enumerated() {
            guard range.start >= 100, range.end <= 600, range.start < range.end else {
                throw path[index].error("[\(range.start), \(range.end)) is no range within [100, 600)")
            }
            result.append(UInt16(range.start)..<UInt16(range.end))
        }
        return result
    }

    private static func bytes(
        _ payload: HealthCheck.Payload, _ path: FieldPath
    ) throws(ConfigurationError) -> [UInt8] {
        switch payload.payload {
        case .binary(let bytes): return bytes
        case .text(let text):
            let digits = Array(text.utf8)
            guard digits.count % 2 == 0 else { throw (path / "text").error("\(text): an odd number of hex digits") }
            var result: [UInt8] = []
            for index in stride(from: 0, to: digits.count, by: 2) {
                guard let byte = UInt8(String(decoding: digits[index..<index + 2], as: UTF8.self), radix: 16) else {
                    throw (path / "text").error("\(text): not hexadecimal")
                }
                result.append(byte)
            }
            return result
        case nil: throw path.error("is empty: set text or binary")
        }
    }
}
