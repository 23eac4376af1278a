internal import HTTP
internal import IO
internal import Serialization
internal import TLS
internal import Upstream

/// What is kept of one request of the sample: what it was decided by, and the decision.
///
/// No body, no secret.
final class RecordedRequest: Sendable {
    /// What the request was when it came.
    final class Question: Sendable {
        let milliseconds: Int64
        let source: String
        let destination: String
        let serverName: String?
        /// The first URI or host name of the client's certificate.
        let principal: String?
        /// What the client offered by ALPN, which chains are chosen by; what was agreed upon, where nobody looked.
        let applicationProtocols: String?
        let usesTLS: Bool
        let listener: String
        let version: String
        let method: String
        let authority: String
        let path: String
        let headers: [(name: String, value: String)]

        init(_ stream: HTTPStream, headers: [(name: String, value: String)], _ text: RecordedText) {
            let wall = WallClock.now
            let connection = stream.connectionInfo
            milliseconds = wall.seconds * 1000 + Int64(wall.nanoseconds / 1_000_000)
            source = "\(connection.directRemoteAddress)"
            destination = "\(connection.localAddress)"
            serverName = connection.requestedServerName.map { RecordedText.cut($0, to: Limits.recordedNameBytes) }
            let peer = connection.tls?.peer
            principal = (peer?.uris.first ?? peer?.dnsNames.first).map {
                RecordedText.cut($0, to: Limits.recordedNameBytes)
            }
            let offered = connection.hasFacts ? connection.facts.applicationProtocols.joined(separator: ",") : ""
            applicationProtocols =
                connection.tls == nil
                ? nil
                : offered.isEmpty
                    ? connection.tls?.applicationProtocol : RecordedText.cut(offered, to: Limits.recordedNameBytes)
            usesTLS = connection.tls != nil
            listener = stream.manager.listenerName
            version = "\(stream.version.text)"
            method = RecordedText.cut(stream.request.methodText, to: 64)
            authority = RecordedText.cut(stream.request.authorityText, to: Limits.recordedNameBytes)
            path = text.path(stream.request.pathText)
            self.headers = headers
        }
    }

    let question: Question
    let chain: String?
    let virtualHost: String?
    let route: String?
    let cluster: String?
    let host: String?
    let flags: ResponseFlags
    let status: UInt16
    let details: String?
    let duration: Duration
    /// From the request's first byte upstream to the response's; nil when there was none.
    let upstreamDuration: Duration?

    init(_ question: Question, _ stream: HTTPStream) {
        self.question = question
        let info = stream.info
        chain = stream.connectionInfo.filterChain
        virtualHost = info.virtualHost
        route = info.routeName
        cluster = info.upstreamCluster.map { RecordedText.cut($0, to: Limits.recordedNameBytes) }
        host = info.upstreamHost.map { "\($0)" }
        flags = info.flags
        status = info.status
        details = info.details.map { RecordedText.cut($0, to: Limits.recordedNameBytes) }
        duration = (info.lastDownstreamByteSent ?? stream.worker.loop.now) - info.started
        if let sent = info.firstUpstreamByteSent, let received = info.firstUpstreamByteReceived {
            upstreamDuration = received - sent
        } else {
            upstreamDuration = nil
        }
    }

    /// About what it costs in memory.
    var bytes: Int {
        var sum = 512 + question.method.utf8.count + question.authority.utf8.count + question.path.utf8.count
        for (name, value) in question.headers { sum += 64 + name.utf8.count + value.utf8.count }
        for text in [question.serverName, chain, virtualHost, route, cluster, details] { sum += text?.utf8.count ?? 0 }
        return sum
    }

    /// One line of `/recorder`.
    var json: JSON {
        var members: [String: JSON] = [
            "time_ms": .integer(question.milliseconds), "source": .string(question.source),
            "destination": .string(question.destination), "protocol": .string(question.version),
            "method": .string(question.method), "authority": .string(question.authority),
            "path": .string(question.path), "flags": .string(flags.text), "status": .integer(Int64(status)),
            "duration_us": .integer(duration.wholeMicroseconds),
            "headers": .array(question.headers.map { .array([.string($0.name), .string($0.value)]) }),
        ]
        for (name, text) in [
            ("server_name", question.serverName), ("principal", question.principal),
            ("alpn", question.applicationProtocols), ("listener", question.listener.isEmpty ? nil : question.listener),
            ("filter_chain", chain), ("virtual_host", virtualHost),
            ("route", route), ("cluster", cluster), ("host", host), ("details", details),
        ] {
            if let text { members[name] = .string(text) }
        }
        if question.usesTLS { members["tls"] = true }
        if let upstreamDuration { members["upstream_duration_us"] = .integer(upstreamDuration.wholeMicroseconds) }
        return .object(members)
    }
}

extension Duration {
    fileprivate var wholeMicroseconds: Int64 { Int64(clamping: wholeNanoseconds / 1000) }
}

/// Texts of requests, made fit to be kept: cut, and secrets replaced by what tells them apart and nothing else.
struct RecordedText: Sendable {
    /// Of this process: what it hashes cannot be looked up in a list that others made.
    let key: [UInt8]

    /// Fields that carry credentials.
    private static let credentials: Set<String> = [
        "authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "api-key", "apikey",
        "x-auth-token", "x-access-token", "x-amz-security-token", "x-csrf-token", "x-xsrf-token",
        "x-forwarded-client-cert", "www-authenticate", "x-forwarded-access-token", "x-goog-iap-jwt-assertion",
    ]
    /// Words that make a field's name suspicious.
    private static let suspicious = ["token", "secret", "password", "passwd", "credential", "session", "signature"]

    static func isCredential(_ name: String) -> Bool {
        credentials.contains(name) || suspicious.contains { name.contains($0) }
    }

    /// The value of a field as it is kept.
    func value(_ value: String, of name: String) -> String {
        Self.isCredential(name) ? hash(value) : Self.cut(value, to: Limits.recordedValueBytes)
    }

    /// A path with its query: names of parameters stay, values are hashed.
    func path(_ path: String) -> String {
        guard path.utf8.contains(UInt8(ascii: "?")) else { return Self.cut(path, to: Limits.recordedPathBytes) }
        let parts = Self.cut(path, to: Limits.recordedPathBytes).split(
            separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else { return String(parts.first ?? "") }
        let parameters = parts[1].split(separator: "&", omittingEmptySubsequences: false).map { parameter in
            guard let equals = parameter.firstIndex(of: "=") else {
                // A query of one word is as likely a value as a name.
                return parts[1].contains("=") || parameter.isEmpty ? String(parameter) : hash(String(parameter))
            }
            return parameter[...equals] + hash(String(parameter[parameter.index(after: equals)...]))
        }
        return Self.cut("\(parts[0])?\(parameters.joined(separator: "&"))", to: Limits.recordedPathBytes)
    }

    /// The same for the same value within one process, and no way back.
    func hash(_ value: String) -> String {
        let digest = SHA256.hash(key + Array(value.utf8) + key)
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = Array("hash:".utf8)
        for byte in digest.prefix(8) {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    static func cut(_ text: String, to limit: Int) -> String {
        guard text.utf8.count > limit else { return text }
        return String(decoding: text.utf8.prefix(limit), as: UTF8.self) + "…"
    }
}
