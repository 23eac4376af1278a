import EnvoyAPI
import HTTP
import IO
import Serialization
import Synchronization
import TLS
import Testing
import Upstream

@testable import Proxy

@Suite("gRPC services that name their servers themselves (google_grpc)")
struct GoogleGRPCTests {
    private static func compile(_ json: String) throws -> GRPCDestination {
        try GRPCDestination(of: GrpcService(json: JSON.parse(json)), at: "s", allowsFiles: true)
    }

    private static func google(_ fields: String) -> String {
        #"{"google_grpc":{"stat_prefix":"p",\#(fields)}}"#
    }

    @Test(
        "a target is a name, an address or a socket, as gRPC writes it",
        arguments: [
            ("xds.test:5678", "xds.test:5678", "xds.test", "xds.test:5678"),
            ("dns:///xds.test:5678", "xds.test:5678", "xds.test", "xds.test:5678"),
            ("dns:xds.test", "xds.test", "xds.test", "xds.test:443"),
            ("127.0.0.1:80", "127.0.0.1:80", "127.0.0.1", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80", "::1", "[::1]:80"), ("::1", "::1", "::1", "[::1]:443"),
            ("ipv4:10.0.0.1:80,10.0.0.2:81", "10.0.0.1:80", "10.0.0.1", "10.0.0.1:80 10.0.0.2:81"),
            ("ipv6:[fd00::1]:80", "[fd00::1]:80", "fd00::1", "[fd00::1]:80"),
            ("unix:/run/xds.sock", "localhost", "localhost", "/run/xds.sock"),
            ("unix:///run/xds.sock", "localhost", "localhost", "/run/xds.sock"),
            ("unix:run/xds.sock", "localhost", "localhost", "run/xds.sock"),
        ])
    func targets(_ text: String, _ authority: String, _ host: String, _ addresses: String) throws {
        let target = try GRPCTargetName(text, at: "t")
        #expect(target.authority == authority && target.host == host)
        let cluster = try ClusterConfig(
            compiling: try #require(Self.compile(Self.google(#""target_uri":"\#(text)""#)).implicit).message)
        let all = cluster.endpoints?.groups.flatMap(\.endpoints).map { "\($0.address)" } ?? []
        #expect(all.joined(separator: " ") == addresses)
        #expect((cluster.discovery == .strictDNS) == (host == "xds.test") && cluster.codec == .http2)
    }

    @Test(
        "what cannot be done is refused with its path",
        arguments: [
            (#""target_uri":"""#, "target_uri: is empty"), (#""target_uri":"a:99999""#, "target_uri: "),
            (#""target_uri":"xds:///a""#, "target_uri: the scheme xds is not supported"),
            (#""target_uri":"dns://8.8.8.8/a""#, "target_uri: a name server inside of the target"),
            (#""target_uri":"ipv4:a:1""#, "target_uri: \"a:1\" is no address of ipv4"),
            (#""target_uri":"a","config":{"x":1}"#, "config: "),
            (#""target_uri":"a","channel_credentials":{"google_default":{}}"#, "channel_credentials.google_default: "),
            (
                #""target_uri":"a","channel_credentials":{"local_credentials":{}}"#,
                "channel_credentials.local_credentials: they are for"
            ),
            (#""target_uri":"a","channel_credentials_plugin":[{}]"#, "channel_credentials_plugin: "),
            (#""target_uri":"a","call_credentials":[{"access_token":"t"}]"#, "call_credentials[0].access_token: "),
            (#""target_uri":"a","call_credentials":[{"google_compute_engine":{}}]"#, "call_credentials[0]: only"),
            (#""target_uri":"a","credentials_factory_name":"x""#, "credentials_factory_name: x is not supported"),
            (
                #""target_uri":"a","channel_args":{"args":{"grpc.what":{"int_value":1}}}"#,
                "channel_args.args[grpc.what]: is not supported; known: "
            ),
            (
                #""target_uri":"a","channel_args":{"args":{"grpc.default_authority":{"int_value":1}}}"#,
                "channel_args.args[grpc.default_authority]: a string_value is needed"
            ),
        ])
    func refusals(_ fields: String, _ expected: String) {
        let error = #expect(throws: ConfigurationError.self) { _ = try Self.compile(Self.google(fields)) }
        #expect(error?.description.hasPrefix("s.google_grpc." + expected) == true, "\(error?.description ?? "")")
    }

    @Test("credentials and channel arguments are in the cluster; services that say the same share one")
    func clusters() throws {
        let registry = ImplicitClusters()
        try registry.compiling {
            let fields =
                #""target_uri":"xds.test:443","channel_credentials":{"ssl_credentials":{"root_certs":{"inline_string":"ROOT"},"cert_chain":{"filename":"/c"},"private_key":{"filename":"/k"}}},"channel_args":{"args":{"grpc.ssl_target_name_override":{"string_value":"other.test"},"grpc.max_receive_message_length":{"int_value":1000},"grpc.keepalive_time_ms":{"int_value":30000}}},"call_credentials":[{"access_token":"secret"}],"per_stream_buffer_limit_bytes":4096"#
            let one = try Self.compile(Self.google(fields))
            let two = try Self.compile(Self.google(fields))
            let three = try Self.compile(Self.google(#""target_uri":"xds.test:443""#))
            let cluster = try #require(one.implicit)
            #expect(cluster === two.implicit && cluster.name != three.implicit?.name)
            #expect(registry.living.count == 2)
            #expect(one.grpc.authority == "other.test" && one.grpc.maxReceiveMessageLength == 1000)
            #expect(one.metadata.map(\.key) == ["authorization"] && one.metadata.map(\.value) == ["Bearer secret"])
            let message = cluster.message
            #expect(message.perConnectionBufferLimitBytes == 4096)
            #expect(message.http2ProtocolOptions?.connectionKeepalive?.interval == .seconds(30))
            guard case .typedConfig(let any)? = message.transportSocket?.configType else {
                Issue.record("no TLS")
                return
            }
            let tls = try any.unpack(as: UpstreamTlsContext.self)
            #expect(tls.sni == "other.test" && tls.autoSniSanValidation)
            #expect(tls.commonTlsContext?.tlsCertificates.count == 1)
        }
        // Nobody holds any of them now.
        #expect(registry.living.isEmpty)
    }

    @Test("a cluster that was made for a service goes with the last configuration that needs it")
    func departure() async throws {
        let loop = try EventLoop.start(name: "implicit")
        defer { loop.stop() }
        try await Task(executorPreference: loop) {
            let metrics = MetricSet(workers: 0)
            let store = ConfigurationStore(
                loop: loop, workers: [], metrics: metrics,
                context: CompileContext(metrics: metrics, secrets: SecretStore()), runtime: Runtime())
            let service = try GrpcService(json: JSON.parse(Self.google(#""target_uri":"127.0.0.1:1""#)))
            var target: GRPCTarget? = try store.compiling { () throws(ConfigurationError) in
                try GRPCTarget(compiling: service, at: "s")
            }
            let name = try #require(target?.cluster)
            #expect(store.published.clusters[name] != nil && store.clusters[name]?.isStatic == true)
            target = nil
            store.publish()
            #expect(store.clusters.isEmpty && store.published.clusters.isEmpty)
        }.value
    }

    @Test("a filter calls the server that its configuration names, over TLS and with what the name must be")
    func call() async throws {
        try await onLoop { loop in
            let authority = try TestIdentity.authority()
            let identity = try TestIdentity(authority, "server", [.dns("authz.test")])
            var configuration = identity.configuration(trusting: authority)
            configuration.applicationProtocols = ["h2"]
            configuration.peerCertificate = .notVerified
            let heads = Mutex<[String]>([])
            let server = try SecureGRPCServer(
                on: loop, TLSContext(configuration, role: .server), path: "/envoy.service.auth.v3.Authorization/Check"
            ) { stream throws(GRPCStatus) in
                guard try await stream.next() != nil else { return }
                let head = ["authorization", "x-of"].map { stream.metadata[$0] ?? "" }.joined(separator: " ")
                heads.withLock { $0.append(head) }
                var response = CheckResponse()
                response.httpResponse = .okResponse(OkHttpResponse())
                try await stream.send(response.serialized())
            }
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("upstream") }
            func filter(_ name: String) -> (name: String, config: String) {
                let roots = TestIdentity.quoted(authority.certificate.pem)
                return (
                    ExtAuthzTests.name,
                    FilterScene.any(
                        "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
                        """
                        grpc_service: { timeout: 30s, google_grpc: { target_uri: "127.0.0.1:\(server.port)", stat_prefix: authz, \
                        channel_credentials: { ssl_credentials: { root_certs: { inline_string: \(roots) } } }, \
                        call_credentials: [ { access_token: "a%b" } ], \
                        channel_args: { args: { grpc.ssl_target_name_override: { string_value: \(name) } } } }, \
                        initial_metadata: [ { key: x-of, value: "%REQ(:path)%" } ] }, transport_api_version: V3
                        """)
                )
            }
            for (name, status) in [("authz.test", 200), ("other.test", 403)] {
                let proxy = try await RunningProxy.start(
                    Yaml.bootstrap(
                        listeners: Yaml.listener(
                            filters: FilterScene.entries([filter(name)]), routes: Yaml.forward()),
                        clusters: Yaml.cluster("backend", [upstream.port]), admin: true))
                defer { proxy.stop() }
                let client = try await Wire.connect(to: proxy.address, on: loop)
                #expect(try await client.get("/p").status == status)
                let clusters = try await Admin.get(proxy, "/clusters", on: loop)
                #expect(clusters.contains("google_grpc:authz:127.0.0.1:\(server.port):"))
                // Nothing secret is shown.
                #expect(try await !Admin.get(proxy, "/config_dump", on: loop).contains("a%b"))
            }
            #expect(heads.withLock(\.self) == ["Bearer a%b /p"])
        }
    }

    @Test("a management server is found by its target; a token from a file goes with each stream, as the file is then")
    func management() async throws {
        let token = "/tmp/skein-token-\(Environment.processID)"
        defer { try? File.remove(token) }
        try File.write(token, Array("one\n".utf8))
        try await onLoop { loop in
            let tokens = Mutex<[String]>([])
            let server = try ADSTests.ManagementServer(on: loop) { metadata in
                tokens.withLock { $0.append(metadata["x-token"] ?? "") }
            }
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("here") }
            try await server.publish(ADSTests.snapshot(backend: upstream.port, listener: 0))
            let bootstrap = """
                node: { id: n, cluster: test }
                admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
                dynamic_resources:
                  ads_config:
                    api_type: DELTA_GRPC
                    transport_api_version: V3
                    grpc_services:
                    - google_grpc:
                        target_uri: "127.0.0.1:\(server.address.port ?? 0)"
                        stat_prefix: ads
                        channel_credentials: { local_credentials: {} }
                        credentials_factory_name: envoy.grpc_credentials.file_based_metadata
                        call_credentials:
                        - from_plugin:
                            name: envoy.grpc_credentials.file_based_metadata
                            typed_config:
                              "@type": type.googleapis.com/envoy.config.grpc_credential.v3.FileBasedMetadataConfig
                              secret_data: { filename: \(token) }
                              header_key: x-token
                              header_prefix: "Bearer "
                  cds_config: { ads: {}, resource_api_version: V3 }
                  lds_config: { ads: {}, resource_api_version: V3 }
                """
            var options = Options()
            options.configYAML = bootstrap
            _ = try ProxyServer.validate(options)
            let proxy = try await RunningProxy.start(bootstrap)
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await until("the routes") { (try? await client.get("/").body) == "here" }
            #expect(tokens.withLock(\.self) == ["Bearer one"])
            try File.write(token, Array("two\n".utf8))
            server.cutOff()
            try await until("another stream") { tokens.withLock(\.count) > 1 }
            #expect(tokens.withLock { $0.last } == "Bearer two")
        }
    }

    @Test("a token in a file is for streams to management servers; keys that are none are refused at the start")
    func other() throws {
        func problem(_ google: String) -> String {
            var options = Options()
            options.configYAML = Yaml.bootstrap(
                listeners: Yaml.listener(
                    filters: FilterScene.entries([
                        (
                            ExtAuthzTests.name,
                            FilterScene.any(
                                "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
                                "grpc_service: { google_grpc: { stat_prefix: p, target_uri: 127.0.0.1:1, \(google) } }"
                            )
                        )
                    ]), routes: Yaml.forward()), clusters: Yaml.cluster("backend", [1]))
            let error = #expect(throws: ProxyError.self) { _ = try ProxyServer.validate(options) }
            return error?.description ?? ""
        }
        let plugin =
            "credentials_factory_name: envoy.grpc_credentials.file_based_metadata, call_credentials: [ { from_plugin: { name: envoy.grpc_credentials.file_based_metadata, typed_config: { \"@type\": type.googleapis.com/envoy.config.grpc_credential.v3.FileBasedMetadataConfig, secret_data: { filename: /x } } } } ]"
        #expect(problem(plugin).contains("google_grpc.call_credentials: a token in a file is for streams"))
        let roots = problem("channel_credentials: { ssl_credentials: { root_certs: { inline_string: nonsense } } }")
        #expect(roots.contains("google_grpc.transport_socket.typed_config.common_tls_context.validation_context"))
    }
}
