import IO
import Proxy
import TLS

/// Certificates for the tests of TLS: an authority and leaves, as PEM for configurations.
struct TestIdentity: Sendable {
    static let longAgo: Int64 = 1_000_000_000
    static let farAhead: Int64 = 4_000_000_000

    let certificate: Certificate
    let key: PrivateKey

    init(
        _ authority: CertificateAuthority, _ name: String, _ names: [SubjectAlternativeName] = [],
        notAfter: Int64 = TestIdentity.farAhead
    ) throws {
        key = try .makeP256()
        certificate = try authority.sign(
            CertificateAuthority.Leaf(
                subject: DistinguishedName(commonName: name), alternativeNames: names, usage: [.client, .server],
                notBefore: Self.longAgo, notAfter: notAfter),
            for: key.publicKey)
    }

    static func authority(_ name: String = "test-ca") throws -> CertificateAuthority {
        try CertificateAuthority.make(
            subject: DistinguishedName(commonName: name), key: .makeP256(), notBefore: longAgo, notAfter: farAhead)
    }

    /// `certificate_chain` and `private_key` in one line.
    var yaml: String {
        "{ certificate_chain: { inline_string: \(Self.quoted(certificate.pem)) }, private_key: { inline_string: \(Self.quoted(key.pem)) } }"
    }

    static func quoted(_ pem: [UInt8]) -> String {
        "\"" + String(decoding: pem, as: UTF8.self).split(separator: "\n").joined(separator: "\\n") + "\\n\""
    }

    func configuration(trusting authority: CertificateAuthority) -> TLSConfiguration {
        var configuration = TLSConfiguration()
        configuration.certificateChain = [certificate]
        configuration.privateKey = key
        configuration.trust = [authority.certificate]
        return configuration
    }
}

/// A client of TLS as a script uses it.
enum TLSWire {
    static func connect(
        to address: SocketAddress, _ configuration: TLSConfiguration, name: String? = nil, on loop: EventLoop
    ) async throws -> Wire {
        let stream = try await SocketStream.connect(to: address, on: loop, timeout: .seconds(5))
        return Wire(
            try await TLSStream.connect(stream, TLSContext(configuration, role: .client), serverName: name))
    }
}

extension Yaml {
    /// A listener with a transport socket.
    static func tls(_ listener: String, _ context: String) -> String {
        let socket = """
                  transport_socket:
                    name: envoy.transport_sockets.tls
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
            \(indented(context, 10))

            """
        return listener + socket
    }

    /// The transport socket of a cluster.
    static func upstreamTLS(_ context: String) -> String {
        "transport_socket: { name: tls, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, \(context) } }"
    }

    private static func indented(_ text: String, _ count: Int) -> String {
        text.split(separator: "\n").map { String(repeating: " ", count: count) + $0 }.joined(separator: "\n")
    }
}

/// The admin server of a proxy.
enum Admin {
    static func get(_ proxy: RunningProxy, _ path: String, on loop: EventLoop) async throws -> String {
        guard let address = proxy.admin else { throw Wire.Closed() }
        let wire = try await Wire.connect(to: address, on: loop)
        defer { wire.close() }
        return try await wire.get(path).body
    }

    /// The value of a metric; nil when `/stats` does not show it.
    static func stat(_ proxy: RunningProxy, _ name: String, on loop: EventLoop) async throws -> Int? {
        for line in try await get(proxy, "/stats", on: loop).split(separator: "\n") where line.hasPrefix(name + ": ") {
            return Int(line.dropFirst(name.utf8.count + 2))
        }
        return nil
    }
}
