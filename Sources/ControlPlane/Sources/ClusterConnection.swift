import APIServer
import DNS
import HTTP
import IO
import Serialization
import TLS

/// A Kubernetes API over HTTPS, with the credentials of a kubeconfig.
///
/// `@unchecked Sendable`: belongs to one loop; used from tasks on it.
final class ClusterConnection: @unchecked Sendable {
    /// How long an answer that is no watch may take to begin.
    private static let patience = Duration.seconds(15)
    /// How long a watch may last: the server ends it sooner, unless it is dead.
    private static let watchPatience = Duration.seconds(ReflectorPlan.watchSeconds + 30)
    /// Bytes of one answer and of one watch event at most.
    private static let bytesMax = 256 << 20
    private static let eventBytesMax = 16 << 20

    private let access: ClusterAccess
    private let loop: EventLoop
    private let resolver: DNSResolver
    private var context: (stamps: [File.Stamp?], context: TLSContext)?
    private var token: (stamp: File.Stamp?, text: String)?
    private var client: HTTPClient?

    init(_ access: ClusterAccess, on loop: EventLoop) {
        self.access = access
        self.loop = loop
        resolver = DNSResolver(on: loop)
    }

    func close() { client?.close() }

    /// Sends a request and returns the answer's object.
    func send(
        _ method: HTTPMethod, _ path: String, _ body: JSON? = nil, contentType: String = "application/json"
    ) async throws(StatusError) -> JSON {
        do throws(StatusError) {
            return try await attempt(method, path, body, contentType)
        } catch  where error.code == 401 && access.token != nil {
            // The token in the file may be newer than the one that was sent.
            token = nil
            return try await attempt(method, path, body, contentType)
        }
    }

    private func attempt(
        _ method: HTTPMethod, _ path: String, _ body: JSON?, _ contentType: String
    ) async throws(StatusError) -> JSON {
        let client = self.client ?? makeClient(patience: Self.patience)
        self.client = client
        do {
            let response = try await client.send(try request(method, path, body, contentType))
            return try Self.object(Int(response.status), try await response.collect(limit: Self.bytesMax))
        } catch { throw Self.failure(error) }
    }

    /// Follows a watch until it ends; `each` says whether it goes on.
    func watch(_ path: String, _ each: (JSON) -> Bool) async throws(StatusError) {
        // A client of its own: what is left of a watch that was given up is no connection for others.
        let client = makeClient(patience: nil)
        defer { client.close() }
        do {
            let request = try request(.get, path, nil, "")
            let timer = loop.schedule(after: Self.watchPatience) { client.close() }
            defer { timer.cancel() }
            let response = try await client.send(request)
            defer { response.close() }
            guard response.status == 200 else {
                if response.status == 401 { token = nil }
                _ = try Self.object(Int(response.status), try await response.collect(limit: 1 << 20))
                return
            }
            var rest: [UInt8] = []
            while let piece = try await response.next() {
                rest += piece
                var start = rest.startIndex
                while let end = rest[start...].firstIndex(of: 0x0A) {
                    let line = Array(rest[start..<end])
                    start = end + 1
                    if !line.isEmpty, !each(try JSON.parse(line)) { return }
                }
                rest.removeSubrange(..<start)
                guard rest.count < Self.eventBytesMax else {
                    throw StatusError(code: 0, reason: "", message: "a watch event of over \(Self.eventBytesMax) bytes")
                }
            }
        } catch { throw Self.failure(error) }
    }

    private static func object(_ status: Int, _ bytes: [UInt8]) throws(StatusError) -> JSON {
        let json = bytes.isEmpty ? JSON.null : (try? JSON.parse(bytes)) ?? .null
        guard (200..<300).contains(status) else {
            throw StatusError(
                code: status, reason: json["reason"]?.string ?? "",
                message: json["message"]?.string ?? String(decoding: bytes.prefix(300), as: UTF8.self))
        }
        return json
    }

    private static func failure(_ error: any Error) -> StatusError {
        (error as? StatusError) ?? StatusError(code: 0, reason: "", message: "\(error)")
    }

    private func request(
        _ method: HTTPMethod, _ path: String, _ body: JSON?, _ contentType: String
    ) throws -> HTTPClientRequest {
        var request = HTTPClientRequest(method, access.pathPrefix + path, body: body?.bytes ?? [])
        try request.headers.append("accept", "application/json")
        try request.headers.append("user-agent", "skein-control-plane")
        if body != nil { try request.headers.append("content-type", contentType) }
        if let token = try currentToken() { try request.headers.append("authorization", "Bearer \(token)") }
        return request
    }

    // MARK: Credentials

    /// The token, read again when its file has changed.
    private func currentToken() throws(StatusError) -> String? {
        switch access.token {
        case nil: return nil
        case .inline(let bytes): return String(decoding: bytes, as: UTF8.self)
        case .file(let path):
            let stamp = File.stamp(path)
            if let token, token.stamp == stamp { return token.text }
            let text = try read(path)
            let plain = String(decoding: text, as: UTF8.self).filter { !$0.isWhitespace }
            guard !plain.isEmpty else { throw StatusError(code: 0, reason: "", message: "\(path): has no token") }
            token = (stamp, plain)
            return plain
        }
    }

    private func read(_ path: String) throws(StatusError) -> [UInt8] {
        do throws(SystemError) { return try File.read(path, limit: 1 << 20) } catch {
            throw StatusError(code: 0, reason: "", message: "\(error)")
        }
    }

    private func bytes(_ material: ClusterAccess.Material) throws(StatusError) -> [UInt8] {
        switch material {
        case .inline(let bytes): bytes
        case .file(let path): try read(path)
        }
    }

    /// What we present and trust, made anew when one of its files has changed.
    private func currentContext() throws(StatusError) -> TLSContext {
        let materials = [access.authorities, access.certificate, access.key]
        let stamps: [File.Stamp?] = materials.map { material in
            if case .file(let path) = material { File.stamp(path) } else { nil }
        }
        if let context, context.stamps == stamps { return context.context }
        let roots = try access.authorities.map { (material) throws(StatusError) in try bytes(material) }
        let certificate = try access.certificate.map { (material) throws(StatusError) in try bytes(material) }
        let key = try access.key.map { (material) throws(StatusError) in try bytes(material) }
        do throws(TLSError) {
            var configuration = TLSConfiguration()
            configuration.applicationProtocols = ["http/1.1"]
            if access.skipsVerification {
                configuration.peerCertificate = .notVerified
            } else {
                configuration.trust = try Certificate.all(
                    pem: roots ?? (try? File.read("/etc/ssl/certs/ca-certificates.crt")) ?? [],
                    skippingDamaged: roots == nil)
            }
            if let certificate, let key {
                configuration.certificateChain = try Certificate.all(pem: certificate)
                configuration.privateKey = try PrivateKey(pem: key)
            }
            let made = try TLSContext(configuration, role: .client)
            context = (stamps, made)
            return made
        } catch {
            throw StatusError(code: 0, reason: "", message: "the kubeconfig's certificates: \(error)")
        }
    }

    private func makeClient(patience: Duration?) -> HTTPClient {
        let host = access.host.contains(":") ? "[\(access.host)]" : access.host
        let client = HTTPClient(authority: "\(host):\(access.port)", on: loop) { [weak self] () throws(HTTPError) in
            guard let self else { throw .closed }
            return try await self.connect()
        }
        client.headTimeout = patience
        return client
    }

    private func connect() async throws(HTTPError) -> any ByteStream {
        let context: TLSContext
        do throws(StatusError) { context = try currentContext() } catch {
            throw .tls(TLSError("kubeconfig", error.message))
        }
        let resolution: Resolution
        do throws(LookupFailure) { resolution = try await resolver.resolve(access.host) } catch {
            throw .tls(TLSError(access.host, "its address is not known: \(error)"))
        }
        var failure = HTTPError.closed
        for address in resolution.addresses {
            let stream: SocketStream
            do throws(SystemError) {
                stream = try await SocketStream.connect(to: .ip(address, port: access.port), on: loop)
            } catch {
                failure = .connection(error)
                continue
            }
            // A server that takes connections and says nothing must not hold us.
            let timer = loop.schedule(after: Self.patience) { stream.close() }
            defer { timer.cancel() }
            do throws(TLSError) {
                return try await TLSStream.connect(stream, context, serverName: access.serverName ?? access.host)
            } catch {
                stream.close()
                failure = .tls(error)
            }
        }
        throw failure
    }
}
