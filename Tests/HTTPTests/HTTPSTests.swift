import Glibc
import HTTP
import IO
import TLS
import Testing

@Suite("HTTP over TLS on sockets")
struct HTTPSTests {
    /// An authority, a server's and a client's context, and their PEM files for other programs.
    struct Setting: Sendable {
        let server: TLSContext
        let client: TLSContext
        let folder: String

        init() throws {
            let (longAgo, farAhead): (Int64, Int64) = (1_000_000_000, 4_000_000_000)
            let authority = try CertificateAuthority.make(
                subject: DistinguishedName(commonName: "ca"), key: .makeP256(), notBefore: longAgo, notAfter: farAhead)
            let serverKey = try PrivateKey.makeP256()
            let serverCertificate = try authority.sign(
                CertificateAuthority.Leaf(
                    subject: DistinguishedName(commonName: "api"),
                    alternativeNames: [.ip([127, 0, 0, 1]), .dns("api.test")],
                    usage: .server, notBefore: longAgo, notAfter: farAhead), for: serverKey.publicKey)
            let clientKey = try PrivateKey.makeP256()
            let clientCertificate = try authority.sign(
                CertificateAuthority.Leaf(
                    subject: DistinguishedName(commonName: "jane", organizations: ["dev"]), usage: .client,
                    notBefore: longAgo, notAfter: farAhead), for: clientKey.publicKey)
            var theirs = try TLSConfiguration(
                chainPEM: serverCertificate.pem, keyPEM: serverKey.pem, trustPEM: authority.certificate.pem)
            theirs.peerCertificate = .optional
            theirs.applicationProtocols = ["http/1.1"]
            server = try TLSContext(theirs, role: .server)
            client = try TLSContext(
                TLSConfiguration(
                    chainPEM: clientCertificate.pem, keyPEM: clientKey.pem, trustPEM: authority.certificate.pem),
                role: .client)
            folder = "/tmp/skein-https-test-\(getpid())-\(SHA256.hexadecimal(SecureRandom.bytes(8)).prefix(8))"
            try File.makeDirectory(folder, mode: 0o700)
            try File.write(folder + "/ca.pem", authority.certificate.pem)
            try File.write(folder + "/client.pem", clientCertificate.pem)
            try File.write(folder + "/client.key", clientKey.pem)
        }
    }

    static let whoami: HTTPServer.Handler = { request in
        HTTPResponse(status: 200, text: request.peer.certificate.map { "\($0.subject)" } ?? "anonymous")
    }

    @Test("our client, curl and openssl reach the server, which knows the user of the client certificate")
    func clients() async throws {
        let setting = try Setting()
        defer { try? File.removeTree(setting.folder) }
        let loop = try EventLoop.start(name: "https-test")
        defer { loop.stop() }
        try await Task(executorPreference: loop) {
            let listener = try SocketListener(Socket.listen(on: .ip(.v4(0x7F00_0001), port: 0)), on: loop)
            let address = try #require(listener.socket.localAddress)
            let server = HTTPServer(on: loop, handler: Self.whoami)
            let running = Task(executorPreference: loop) { await server.run(listener, tls: { setting.server }) }

            let client = HTTPClient(to: address, serverName: "api.test", tls: setting.client, on: loop)
            for _ in 0..<2 {
                let response = try await client.send(HTTPClientRequest(.get, "/"))
                #expect(try await response.collect() == bytes("O=dev,CN=jane"))
            }
            client.close()
            let wrong = HTTPClient(to: address, serverName: "other.test", tls: setting.client, on: loop)
            do throws(HTTPError) {
                _ = try await wrong.send(HTTPClientRequest(.get, "/"))
                Issue.record("a server of another name was accepted")
            } catch {
                #expect(error.description.contains("hostname mismatch"))
            }

            let folder = setting.folder
            let url = "https://\(address)/"
            let curl = try await offLoop {
                try run(
                    "curl", "-sS", "--cacert", folder + "/ca.pem", "--cert", folder + "/client.pem", "--key",
                    folder + "/client.key",
                    url, "--next", "-sS", "--cacert", folder + "/ca.pem", url)
            }
            #expect(curl == "O=dev,CN=janeanonymous")
            let openssl = try await offLoop {
                try run(
                    "sh", "-c",
                    "printf 'GET / HTTP/1.1\\r\\nHost: h\\r\\nConnection: close\\r\\n\\r\\n' | "
                        + "openssl s_client -quiet -verify_return_error -CAfile \(folder)/ca.pem -verify_hostname api.test "
                        + "-alpn http/1.1 -connect \(address) 2>/dev/null")
            }
            #expect(openssl.hasPrefix("HTTP/1.1 200 OK") && openssl.hasSuffix("anonymous"))

            listener.close()
            await server.shutdown(grace: .zero)
            await running.value
        }.value
    }

    @Test("a large answer and a large body arrive whole, with both directions busy")
    func large() async throws {
        let setting = try Setting()
        defer { try? File.removeTree(setting.folder) }
        let loop = try EventLoop.start(name: "https-test")
        defer { loop.stop() }
        let body = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let handler: HTTPServer.Handler = { request in
            do throws(HTTPError) {
                return HTTPResponse(status: 200, body: try await request.body.collect())
            } catch {
                return HTTPResponse(status: 500, text: error.description)
            }
        }
        try await Task(executorPreference: loop) {
            let listener = try SocketListener(Socket.listen(on: .ip(.v4(0x7F00_0001), port: 0)), on: loop)
            let address = try #require(listener.socket.localAddress)
            let server = HTTPServer(on: loop, handler: handler)
            let running = Task(executorPreference: loop) { await server.run(listener, tls: { setting.server }) }
            let client = HTTPClient(to: address, serverName: "127.0.0.1", tls: setting.client, on: loop)
            let response = try await client.send(HTTPClientRequest(.post, "/", body: body))
            #expect(try await response.collect() == body)
            client.close()
            listener.close()
            await server.shutdown(grace: .zero)
            await running.value
        }.value
    }
}
