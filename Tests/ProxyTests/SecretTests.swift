import IO
import Proxy
import TLS
import Testing

@Suite("Secrets from files, and what becomes of connections when they change")
struct SecretTests {
    let authority: CertificateAuthority
    let directory = "/tmp/skein-secrets-\(UInt64.random(in: 0 ... .max))"

    init() throws {
        authority = try TestIdentity.authority()
        try File.makeDirectory(directory)
    }

    private func write(_ name: String, _ bytes: [UInt8]) throws {
        // As whoever rotates certificates does it: the new file appears whole.
        try File.write("\(directory)/.\(name)", bytes)
        try File.rename("\(directory)/.\(name)", "\(directory)/\(name)")
    }

    private func write(_ identity: TestIdentity) throws {
        try write("tls.crt", identity.certificate.pem)
        try write("tls.key", identity.key.pem)
    }

    private var files: String {
        "tls_certificates: [ { certificate_chain: { filename: \"\(directory)/tls.crt\" }, private_key: { filename: \"\(directory)/tls.key\" } } ]"
    }

    private var anonymous: TLSConfiguration {
        var configuration = TLSConfiguration()
        configuration.trust = [authority.certificate]
        return configuration
    }

    private func start(_ context: String, port: UInt16) async throws -> RunningProxy {
        try await RunningProxy.start(
            Yaml.bootstrap(
                listeners: Yaml.tls(Yaml.listener(routes: Yaml.forward()), "common_tls_context: { \(context) }"),
                clusters: Yaml.cluster("backend", [port]), admin: true))
    }

    /// Tries until it is so, at most half a minute.
    private func eventually(on loop: EventLoop, _ isSo: () async throws -> Bool) async throws -> Bool {
        for _ in 0..<300 {
            if try await isSo() { return true }
            await loop.sleep(for: .milliseconds(100))
        }
        return false
    }

    @Test("changed files make a new context: connections keep theirs, and half of a pair changes nothing")
    func rotation() async throws {
        defer { try? File.removeTree(directory) }
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("x") }
            try write(TestIdentity(authority, "first", [.dns("first.test")]))
            let proxy = try await start(files, port: upstream.port)
            defer { proxy.stop() }
            func accepts(_ name: String) async -> Bool {
                let wire = try? await TLSWire.connect(to: proxy.address, anonymous, name: name, on: loop)
                defer { wire?.close() }
                return wire != nil
            }
            let kept = try await TLSWire.connect(to: proxy.address, anonymous, name: "first.test", on: loop)
            #expect(try await kept.get("/").status == 200)
            let second = try TestIdentity(authority, "second", [.dns("second.test")])
            try write("tls.crt", second.certificate.pem)
            await loop.sleep(for: .milliseconds(1500))
            #expect(await accepts("first.test"))
            try write("tls.key", second.key.pem)
            #expect(try await eventually(on: loop) { await accepts("second.test") })
            #expect(try await kept.get("/").status == 200)
            let certs = try await Admin.get(proxy, "/certs", on: loop)
            #expect(certs.contains("second.test") && certs.contains("tls.crt") && !certs.contains("PRIVATE"))
        }
    }

    @Test("ATK-28 an authority that is taken away ends the connections that it vouched for")
    func authorityGone() async throws {
        defer { try? File.removeTree(directory) }
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("x") }
            try write(TestIdentity(authority, "server", [.dns("api.test")]))
            let other = try TestIdentity.authority("other")
            try write("ca.crt", authority.certificate.pem + other.certificate.pem)
            let proxy = try await start(
                files + ", validation_context: { trusted_ca: { filename: \"\(directory)/ca.crt\" } }",
                port: upstream.port)
            defer { proxy.stop() }
            var configuration = try TestIdentity(other, "client").configuration(trusting: authority)
            configuration.trust = [authority.certificate]
            let wire = try await TLSWire.connect(to: proxy.address, configuration, name: "api.test", on: loop)
            #expect(try await wire.get("/").status == 200)
            try write("ca.crt", authority.certificate.pem)
            let isRefused = try await eventually(on: loop) {
                let fresh = try? await TLSWire.connect(to: proxy.address, configuration, name: "api.test", on: loop)
                return (try? await fresh?.get("/").status) != 200
            }
            #expect(isRefused)
            // It is told to close with its next response, or closed while it was idle.
            let last = try? await wire.get("/")
            #expect(last == nil || last?.field("connection") == "close")
        }
    }

    @Test("ATK-28 A-16 a cluster whose servers must have another name now does not use the connections that it has")
    func otherServerName() async throws {
        defer { try? File.removeTree(directory) }
        try await onLoop { loop in
            let server = try TestIdentity(authority, "server", [.dns("api.test")])
            var configuration = TLSConfiguration()
            configuration.certificateChain = [server.certificate]
            configuration.privateKey = server.key
            configuration.peerCertificate = .notVerified
            let upstream = try await ScriptedUpstream(
                on: loop, tls: try TLSContext(configuration, role: .server)
            ) { _, _ in ScriptedUpstream.ok("x") }
            func cluster(_ name: String) -> [UInt8] {
                let trust = "trusted_ca: { inline_string: \(TestIdentity.quoted(authority.certificate.pem)) }"
                let names = "match_typed_subject_alt_names: [ { san_type: DNS, matcher: { exact: \(name) } } ]"
                return Array(
                    """
                    resources:
                    - "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
                      name: backend
                      type: STATIC
                      \(Yaml.upstreamTLS("common_tls_context: { validation_context: { \(trust), \(names) } }"))
                      load_assignment:
                        cluster_name: backend
                        endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: \(upstream.port) } } } } ] } ]

                    """.utf8)
            }
            try write("cds.yaml", cluster("api.test"))
            let proxy = try await RunningProxy.start(
                """
                node: { id: n, cluster: c }
                admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
                dynamic_resources: { cds_config: { path_config_source: { path: \(directory)/cds.yaml } } }
                static_resources:
                  listeners:

                """ + Yaml.listener(routes: Yaml.forward()))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/").status == 200)
            try write("cds.yaml", cluster("other.test"))
            #expect(try await eventually(on: loop) { try await client.get("/").status == 503 })
            func isSaidToFail() async throws -> Bool {
                try await Admin.get(proxy, "/explain?listener=ingress&url=http://a/&format=json", on: loop)
                    .contains("the handshake failed")
            }
            #expect(try await isSaidToFail())
            try write("cds.yaml", cluster("api.test"))
            // What failed under the former configuration is no reason for the next request to fail.
            #expect(try await eventually(on: loop) { try await !isSaidToFail() })
            #expect(try await eventually(on: loop) { try await client.get("/").status == 200 })
        }
    }

    @Test("a secret from a file in the form of a discovery response, and a validation context put together of two")
    func discoveryFile() async throws {
        defer { try? File.removeTree(directory) }
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("x") }
            let server = try TestIdentity(authority, "server", [.dns("api.test")])
            let type = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
            try write(
                "sds.yaml",
                Array(
                    """
                    resources:
                    - { "@type": \(type), name: cert, tls_certificate: \(server.yaml) }
                    - { "@type": \(type), name: ca, validation_context: { trusted_ca: { inline_string: \(TestIdentity.quoted(authority.certificate.pem)) } } }
                    """.utf8))
            let source = "sds_config: { path_config_source: { path: \"\(directory)/sds.yaml\" } }"
            let proxy = try await start(
                "tls_certificate_sds_secret_configs: [ { name: cert, \(source) } ], combined_validation_context: { default_validation_context: { match_typed_subject_alt_names: [ { san_type: URI, matcher: { prefix: \"spiffe://a/\" } } ] }, validation_context_sds_secret_config: { name: ca, \(source) } }",
                port: upstream.port)
            defer { proxy.stop() }
            func isAccepted(_ uri: String) async throws -> Bool {
                let identity = try TestIdentity(authority, "c", [.uri(uri)])
                let wire = try? await TLSWire.connect(
                    to: proxy.address, identity.configuration(trusting: authority), name: "api.test", on: loop)
                return (try? await wire?.get("/").status) == 200
            }
            #expect(try await isAccepted("spiffe://a/b"))
            #expect(try await !isAccepted("spiffe://b/b"))
        }
    }

    @Test("ATK-26 SPIFFE: an authority speaks for its own trust domain alone")
    func spiffe() async throws {
        defer { try? File.removeTree(directory) }
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("x") }
            try write(TestIdentity(authority, "server", [.dns("api.test")]))
            let other = try TestIdentity.authority("other")
            func domain(_ name: String, _ authority: CertificateAuthority) -> String {
                "{ name: \(name), trust_bundle: { inline_string: \(TestIdentity.quoted(authority.certificate.pem)) } }"
            }
            let proxy = try await start(
                files
                    + ", validation_context: { custom_validator_config: { name: envoy.tls.cert_validator.spiffe, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig, trust_domains: [ \(domain("one", authority)), \(domain("two", other)) ] } } }",
                port: upstream.port)
            defer { proxy.stop() }
            func isAccepted(_ signer: CertificateAuthority, _ names: [SubjectAlternativeName]) async throws -> Bool {
                var configuration = try TestIdentity(signer, "c", names).configuration(trusting: authority)
                configuration.trust = [authority.certificate]
                let wire = try? await TLSWire.connect(to: proxy.address, configuration, name: "api.test", on: loop)
                return (try? await wire?.get("/").status) == 200
            }
            #expect(try await isAccepted(authority, [.uri("spiffe://one/a")]))
            #expect(try await isAccepted(other, [.uri("spiffe://two/a")]))
            #expect(try await !isAccepted(other, [.uri("spiffe://one/a")]))
            #expect(try await !isAccepted(authority, [.uri("spiffe://three/a")]))
            #expect(try await !isAccepted(authority, [.uri("spiffe://one/a"), .uri("spiffe://one/b")]))
            #expect(try await !isAccepted(authority, [.dns("one")]))
        }
    }

    @Test("a key log gets the secrets of connections from the addresses that it is for")
    func keyLog() async throws {
        defer { try? File.removeTree(directory) }
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("x") }
            try write(TestIdentity(authority, "server", [.dns("api.test")]))
            for (range, isLogged) in [("127.0.0.0", true), ("10.0.0.0", false)] {
                let file = "\(directory)/keys-\(range)"
                let proxy = try await start(
                    files
                        + ", key_log: { path: \"\(file)\", remote_address_range: [ { address_prefix: \(range), prefix_len: 8 } ] }",
                    port: upstream.port)
                defer { proxy.stop() }
                let wire = try await TLSWire.connect(to: proxy.address, anonymous, name: "api.test", on: loop)
                #expect(try await wire.get("/").status == 200)
                #expect(((try? File.text(file)) ?? "").contains("CLIENT_TRAFFIC_SECRET_0 ") == isLogged)
            }
        }
    }

    @Test("what cannot be is refused with the path of the field")
    func refusals() throws {
        defer { try? File.removeTree(directory) }
        let server = try TestIdentity(authority, "server")
        let trust = "trusted_ca: { inline_string: \(TestIdentity.quoted(authority.certificate.pem)) }"
        func refusal(_ context: String) -> String {
            var options = Options()
            options.configYAML = Yaml.bootstrap(
                listeners: Yaml.tls(Yaml.listener(routes: Yaml.forward()), context),
                clusters: Yaml.cluster("backend", [1]))
            do throws(ProxyError) {
                _ = try ProxyServer.validate(options)
                return "accepted"
            } catch {
                let text = error.description
                let path = "static_resources.listeners[0].filter_chains[0].transport_socket.typed_config."
                return text.hasPrefix(path) ? String(text.dropFirst(path.count)) : text
            }
        }
        func common(_ text: String) -> String { refusal("common_tls_context: { \(text) }") }
        let certificate = "tls_certificates: [ \(server.yaml) ]"
        #expect(common(certificate) == "accepted")
        #expect(common("").hasPrefix("common_tls_context.tls_certificates: a server needs"))
        #expect(
            common("tls_certificates: [ {} ]").hasPrefix("common_tls_context.tls_certificates[0].certificate_chain: "))
        #expect(
            common(
                "tls_certificates: [ { certificate_chain: { filename: /nowhere }, private_key: { filename: /nowhere } } ]"
            )
            .hasPrefix("common_tls_context.tls_certificates[0].certificate_chain.filename: "))
        #expect(
            common("\(certificate), tls_params: { cipher_suites: [ ROT13 ] }").hasPrefix(
                "common_tls_context.tls_params.cipher_suites: \"ROT13\""))
        #expect(
            common(
                "\(certificate), tls_params: { tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_2 }"
            )
            .hasPrefix("common_tls_context.tls_params.tls_minimum_protocol_version: "))
        #expect(
            common(
                "\(certificate), validation_context: { match_typed_subject_alt_names: [ { san_type: DNS, matcher: { exact: a } } ] }"
            )
            .hasPrefix("common_tls_context.validation_context.match_typed_subject_alt_names: names prove nothing"))
        #expect(
            common("\(certificate), validation_context: { \(trust), verify_certificate_hash: [ abc ] }").hasPrefix(
                "common_tls_context.validation_context.verify_certificate_hash[0]: "))
        #expect(
            common("\(certificate), validation_context: { crl: { inline_string: x } }").hasPrefix(
                "common_tls_context.validation_context.crl: "))
        #expect(
            common("\(certificate), custom_handshaker: { name: x }").hasPrefix("common_tls_context.custom_handshaker: ")
        )
        #expect(
            refusal(
                "common_tls_context: { \(certificate) }\nsession_ticket_keys: { keys: [ { inline_string: short } ] }"
            )
            .hasPrefix("session_ticket_keys.keys[0]: exactly 80 bytes"))
        #expect(
            common("tls_certificate_sds_secret_configs: [ { name: missing } ]").hasPrefix(
                "common_tls_context.tls_certificate_sds_secret_configs[0].name: there is no secret"))
    }
}
