import DNS
import HTTP
import IO
import Serialization
import TLS

/// Makes checks: asks programs how they are.
///
/// `@unchecked Sendable`: belongs to one loop.
final class CheckRunner: @unchecked Sendable {
    /// Bytes of an answer that are read.
    private static let answerBytes = 4_096
    /// Redirections that are followed: as many as Go's client.
    private static let redirectionsMax = 10
    /// Who signs certificates, for servers outside.
    private static let authorities = "/etc/ssl/certs/ca-certificates.crt"

    private let loop: EventLoop
    private lazy var resolver = DNSResolver(on: loop)
    private var contexts: [Bool: TLSContext] = [:]

    init(on loop: EventLoop) { self.loop = loop }

    /// Makes one check; it takes no longer than its definition allows.
    func run(_ definition: CheckDefinition) async -> CheckOutcome {
        let patience = Duration.milliseconds(definition.patience)
        switch definition.kind {
        case .http(let probe): return await http(probe, patience)
        case .tcp(let place): return await tcp(place, patience)
        case .grpc(let place): return await grpc(place, patience)
        case .script(let words): return await script(words, patience)
        case .ttl, .external: return CheckOutcome(status: "critical", output: "nobody makes this check")
        }
    }

    private struct Failure: Error { var text: String }

    private func connect(_ target: ProbeTarget, _ patience: Duration) async throws(Failure) -> SocketStream {
        let addresses: [IPAddress]
        do throws(LookupFailure) { addresses = try await resolver.resolve(target.host).addresses } catch {
            throw Failure(text: "lookup \(target.host): \(error)")
        }
        var last = "lookup \(target.host): no address"
        for address in addresses {
            do throws(SystemError) {
                return try await SocketStream.connect(
                    to: .ip(address, port: target.port), on: loop, timeout: patience)
            } catch { last = "dial tcp \(SocketAddress.ip(address, port: target.port)): \(error)" }
        }
        throw Failure(text: last)
    }

    // MARK: TCP

    private func tcp(_ place: String, _ patience: Duration) async -> CheckOutcome {
        guard let target = ProbeTarget(place: place) else {
            return CheckOutcome(status: "critical", output: "\(place) is no HOST:PORT")
        }
        do throws(Failure) {
            try await connect(target, patience).close()
            return CheckOutcome(status: "passing", output: "TCP connect \(place): Success")
        } catch {
            return CheckOutcome(status: "critical", output: error.text)
        }
    }

    // MARK: HTTP

    private func context(verifies: Bool) throws(TLSError) -> TLSContext {
        if let known = contexts[verifies] { return known }
        var configuration = TLSConfiguration()
        configuration.applicationProtocols = ["http/1.1"]
        if verifies {
            // Without the file nothing is trusted, and each check says so.
            configuration.trust = try Certificate.all(
                pem: (try? File.read(Self.authorities)) ?? [], skippingDamaged: true)
        } else {
            configuration.peerCertificate = .notVerified
        }
        let made = try TLSContext(configuration, role: .client)
        contexts[verifies] = made
        return made
    }

    private func http(_ probe: CheckDefinition.HTTPProbe, _ patience: Duration) async -> CheckOutcome {
        var url = probe.url
        for _ in 0...Self.redirectionsMax {
            guard let target = ProbeTarget(url: url) else {
                return CheckOutcome(status: "critical", output: "\(probe.method) \(url): no URL of a server")
            }
            do throws(Failure) {
                let (status, location, body) = try await ask(target, probe, patience)
                if probe.followsRedirects, (300..<400).contains(status), let location {
                    url = Self.resolved(location, target)
                    continue
                }
                let state = (200..<300).contains(status) ? "passing" : status == 429 ? "warning" : "critical"
                return CheckOutcome(
                    status: state,
                    output: "HTTP \(probe.method) \(url): \(status) \(ResponseHead.reason(status)) Output: \(body)")
            } catch {
                return CheckOutcome(status: "critical", output: "\(probe.method) \"\(url)\": \(error.text)")
            }
        }
        return CheckOutcome(
            status: "critical", output: "\(probe.method) \"\(probe.url)\": stopped after 10 redirects")
    }

    private static func resolved(_ location: String, _ target: ProbeTarget) -> String {
        if location.contains("://") { return location }
        let host = target.host.contains(":") ? "[\(target.host)]" : target.host
        let start = "\(target.isSecure ? "https" : "http")://\(host):\(target.port)"
        if location.hasPrefix("/") { return start + location }
        let folder = target.path.prefix { $0 != "?" }
        return start + folder.prefix(upTo: folder.lastIndex(of: "/") ?? folder.startIndex) + "/" + location
    }

    private func ask(
        _ target: ProbeTarget, _ probe: CheckDefinition.HTTPProbe, _ patience: Duration
    ) async throws(Failure) -> (UInt16, String?, String) {
        let stream = try await connect(target, patience)
        // Whatever it waits for: it ends when the time is over.
        let timer = loop.schedule(after: patience) { stream.close() }
        defer {
            timer.cancel()
            stream.close()
        }
        let secured: any ByteStream
        if target.isSecure {
            do throws(TLSError) {
                secured = try await TLSStream.connect(
                    stream, try context(verifies: !probe.skipsVerify), serverName: target.host)
            } catch { throw Failure(text: "\(error)") }
        } else {
            secured = stream
        }
        let usual: UInt16 = target.isSecure ? 443 : 80
        let host = target.host.contains(":") ? "[\(target.host)]" : target.host
        let named = probe.header.first { $0.key.lowercased() == "host" }?.value.first
        let client = HTTPClient(
            authority: named ?? (target.port == usual ? host : "\(host):\(target.port)"), on: loop
        ) { () throws(HTTPError) in secured }
        defer { client.close() }
        do throws(HTTPError) {
            var request = HTTPClientRequest(
                Self.methods[probe.method] ?? .get, target.path, body: Array(probe.body.utf8))
            do throws(HTTPFieldError) {
                let names = Set(probe.header.keys.map { $0.lowercased() })
                if !names.contains("user-agent") { try request.headers.append("user-agent", "Consul Health Check") }
                if !names.contains("accept") {
                    try request.headers.append("accept", "text/plain, text/*, */*")
                }
                for (name, values) in probe.header.sorted(by: { $0.key < $1.key }) where name.lowercased() != "host" {
                    for value in values { try request.headers.append(name.lowercased(), value) }
                }
            } catch { throw .field(error) }
            let response = try await client.send(request)
            var body: [UInt8] = []
            while body.count < Self.answerBytes, let piece = try await response.next() { body += piece }
            response.close()
            return (
                response.status, response.head.headers["location"],
                String(decoding: body.prefix(Self.answerBytes), as: UTF8.self)
            )
        } catch {
            throw Failure(text: stream.hasClosed ? "no answer within \(patience)" : "\(error)")
        }
    }

    /// What a check may say.
    static let methods: [String: HTTPMethod] = [
        "GET": .get, "HEAD": .head, "POST": .post, "PUT": .put, "DELETE": .delete, "OPTIONS": .options,
        "PATCH": .patch,
    ]

    // MARK: gRPC

    private func grpc(_ place: String, _ patience: Duration) async -> CheckOutcome {
        guard let target = ProbeTarget(place: place) else {
            return CheckOutcome(status: "critical", output: "\(place) is no HOST:PORT")
        }
        do {
            let stream = try await connect(target, patience)
            let timer = loop.schedule(after: patience) { stream.close() }
            defer {
                timer.cancel()
                stream.close()
            }
            let client = try GRPCClient(stream, authority: "\(target.host):\(target.port)", on: loop)
            defer { client.close() }
            let call = try client.call("/grpc.health.v1.Health/Check")
            try await call.send(Self.question(target.path))
            try call.finishSending()
            guard let answer = try await call.next() else {
                return CheckOutcome(status: "critical", output: "gRPC check \(place): no answer")
            }
            // HealthCheckResponse: field 1 is the state, 1 is SERVING.
            let isServing = answer == [0x08, 0x01]
            return CheckOutcome(
                status: isServing ? "passing" : "critical",
                output: "gRPC check \(place): \(isServing ? "success" : "not serving")")
        } catch let error as Failure {
            return CheckOutcome(status: "critical", output: "gRPC check \(place): \(error.text)")
        } catch {
            return CheckOutcome(status: "critical", output: "gRPC check \(place): \(error)")
        }
    }

    /// HealthCheckRequest: field 1 is the service's name, of less than 128 bytes here.
    static func question(_ service: String) -> [UInt8] {
        let name = Array(service.utf8.prefix(127))
        return name.isEmpty ? [] : [0x0A, UInt8(name.count)] + name
    }

    // MARK: Scripts

    private func script(_ words: [String], _ patience: Duration) async -> CheckOutcome {
        // Waiting for a program blocks a thread: one of its own, as the pool's have others to serve.
        await withCheckedContinuation { continuation in
            do throws(SystemError) {
                try Thread.start(name: "skein-script") { continuation.resume(returning: Self.run(words, patience)) }
            } catch {
                continuation.resume(returning: CheckOutcome(status: "critical", output: "\(error)"))
            }
        }
    }

    private static func run(_ words: [String], _ patience: Duration) -> CheckOutcome {
        do throws(SystemError) {
            let (status, output) = try Child.run(Child.Command(words), limit: answerBytes, timeout: patience)
            let state = status.code == 0 ? "passing" : status.code == 1 ? "warning" : "critical"
            return CheckOutcome(status: state, output: String(decoding: output, as: UTF8.self))
        } catch {
            return CheckOutcome(status: "critical", output: "\(error)")
        }
    }
}
