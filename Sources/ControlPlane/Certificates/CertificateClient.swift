import EnvoyAPI
public import HTTP
public import IO
import Serialization
public import TLS

/// Asks a control plane for the certificate of a workload without an agent, at the discovery address or on a pod's own socket.
///
/// The first time with a service-account token, from then on with the certificate itself.
public struct CertificateClient: Sendable {
    /// What the caller shows.
    public enum Credential: Sendable {
        /// A service-account token with audience `skein`.
        case token(String)
        /// A certificate of the mesh, leaf first, and its key.
        case certificate(chain: [Certificate], key: PrivateKey)
        /// Nothing: the socket says who calls.
        case none
    }

    /// The name that the control plane's certificate must be good for.
    public static let serverName = "skein.skein-system.svc"

    /// Where the control plane is.
    public var address: IO.SocketAddress
    /// What signs the certificate of its address; of no use on a unix socket.
    public var authority: [Certificate]

    /// How long one question may take.
    public var timeout = Duration.seconds(15)

    /// A client of the control plane at an address.
    public init(_ address: IO.SocketAddress, authority: [Certificate]) {
        self.address = address
        self.authority = authority
    }

    /// Has a key certified.
    ///
    /// - Parameter request: the certificate request, PEM.
    /// - Returns: the certificate with its intermediates, and the roots of the mesh.
    public func certify(
        _ request: [UInt8], showing credential: Credential, on loop: EventLoop
    ) async throws(GRPCStatus) -> (chain: [Certificate], roots: [Certificate]) {
        var question = IstioCertificateRequest()
        question.csr = String(decoding: request, as: UTF8.self)
        let bytes = try await ask(CertificateService.certificateMethod, question.serialized(), credential, loop)
        let answer: IstioCertificateResponse
        do throws(MessageError) { answer = try IstioCertificateResponse(serialized: bytes) } catch {
            throw GRPCStatus(.internal, "\(error)")
        }
        guard answer.certChain.count >= 2, let roots = answer.certChain.last else {
            throw GRPCStatus(.internal, "the answer has no certificate, or no roots")
        }
        return (try Self.certificates(answer.certChain.dropLast().joined()), try Self.certificates(roots))
    }

    /// What is to be trusted now.
    public func roots(showing credential: Credential, on loop: EventLoop) async throws(GRPCStatus) -> [Certificate] {
        let bytes = try await ask(CertificateService.rootsMethod, [], credential, loop)
        let answer: IdentityTrustBundle
        do throws(MessageError) { answer = try IdentityTrustBundle(serialized: bytes) } catch {
            throw GRPCStatus(.internal, "\(error)")
        }
        return try Self.certificates(answer.roots)
    }

    private static func certificates(_ text: String) throws(GRPCStatus) -> [Certificate] {
        do throws(TLSError) { return try Certificate.all(pem: Array(text.utf8)) } catch {
            throw GRPCStatus(.internal, "the control plane's answer: \(error)")
        }
    }

    private func ask(
        _ method: String, _ question: [UInt8], _ credential: Credential, _ loop: EventLoop
    ) async throws(GRPCStatus) -> [UInt8] {
        let stream: SocketStream
        do throws(SystemError) {
            stream = try await SocketStream.connect(to: address, on: loop, timeout: timeout)
        } catch {
            throw GRPCStatus(.unavailable, "\(address): \(error)")
        }
        defer { stream.close() }
        let timer = loop.schedule(after: timeout) { stream.close() }
        defer { timer.cancel() }
        do {
            var metadata = HeaderTable()
            if case .token(let token) = credential { try metadata.append("authorization", "Bearer \(token)") }
            let client = try GRPCClient(
                try await secured(stream, credential), authority: Self.serverName, on: loop)
            defer { client.close() }
            let call = try client.call(method, metadata: metadata)
            try await call.send(question)
            try call.finishSending()
            guard let answer = try await call.next() else { throw GRPCStatus(.internal, "there was no answer") }
            return answer
        } catch let status as GRPCStatus {
            throw status
        } catch {
            throw GRPCStatus(.unavailable, "\(address): \(error)")
        }
    }

    private func secured(_ stream: SocketStream, _ credential: Credential) async throws(TLSError) -> any DirectStream {
        if case .unix = address { return stream }
        var configuration = TLSConfiguration()
        configuration.trust = authority
        configuration.applicationProtocols = ["h2"]
        if case .certificate(let chain, let key) = credential {
            configuration.certificateChain = chain
            configuration.privateKey = key
        }
        return try await TLSStream.connect(
            stream, try TLSContext(configuration, role: .client), serverName: Self.serverName)
    }
}
