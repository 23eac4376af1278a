import Proxy
import Testing

@Suite("Configuration errors")
struct ConfigurationTests {
    private func refusal(_ yaml: String) -> String {
        var options = Options()
        options.configYAML = yaml
        do throws(ProxyError) {
            _ = try ProxyServer.validate(options)
            return "accepted"
        } catch {
            return error.description
        }
    }

    private static let path = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config"

    @Test("a collector of the recorder that is not there is refused at the start")
    func recorderCluster() {
        var options = Options()
        options.configYAML = Yaml.bootstrap(
            listeners: Yaml.listener(routes: Yaml.forward()), clusters: Yaml.cluster("backend", [1]))
        options.recorderCluster = "nowhere"
        #expect {
            try ProxyServer.validate(options)
        } throws: {
            "\($0)".contains("--recorder-als-cluster: there is no cluster \"nowhere\"")
        }
        options.recorderCluster = "backend"
        #expect(throws: Never.self) { try ProxyServer.validate(options) }
    }

    @Test("a field that is unknown or not supported is refused with its path")
    func paths() {
        let clusters = Yaml.cluster("backend", [1])
        #expect(
            refusal(
                Yaml.bootstrap(
                    listeners: Yaml.listener(manager: "bogus: 1", routes: Yaml.forward()), clusters: clusters))
                == "\(Self.path).bogus: unknown field")
        #expect(
            refusal(
                Yaml.bootstrap(
                    listeners: Yaml.listener(manager: "codec_type: HTTP3", routes: Yaml.forward()), clusters: clusters)
            ).hasPrefix("\(Self.path).codec_type: HTTP3"))
        #expect(
            refusal(
                Yaml.bootstrap(
                    listeners: Yaml.listener(
                        routes: "[ { match: { safe_regex: { regex: \"(\" } }, route: { cluster: a } } ]"),
                    clusters: clusters)
            ).hasPrefix("\(Self.path).route_config.virtual_hosts[0].routes[0].match.safe_regex.regex: "))
        #expect(
            refusal(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()),
                    clusters: Yaml.cluster(
                        "backend", [1], "transport_socket: { name: envoy.transport_sockets.tls }"))
            ).hasPrefix("static_resources.clusters[0].transport_socket"))
        #expect(
            refusal(Yaml.bootstrap(listeners: Yaml.listener(routes: Yaml.forward()), clusters: clusters + clusters))
                == "static_resources.clusters[1].name: \"backend\" is there twice")
        #expect(refusal("static_resources: [").contains("--config-yaml:"))
        #expect(
            refusal("dynamic_resources: { cds_config: { ads: {} } }").hasPrefix("dynamic_resources.cds_config.ads: "))
    }

    @Test("a good configuration is accepted, and its ignored fields are listed with the reason")
    func ignored() throws {
        var options = Options()
        options.configYAML = Yaml.bootstrap(
            listeners: Yaml.listener(manager: "delayed_close_timeout: 2s", routes: Yaml.forward()),
            clusters: Yaml.cluster("backend", [1]))
        let lines = try ProxyServer.validate(options)
        #expect(lines.contains { $0.contains("delayed_close_timeout: ignored: ") })
    }

    @Test(
        "what other people's files have: numbers that stand for text, Istio's extension, authorities by SDS, gaps of priorities"
    )
    func otherPeoples() throws {
        var options = Options()
        let sds = """
            transport_socket: { name: t, typed_config: { "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, \
            sni: a.example, auto_sni_san_validation: true, common_tls_context: { combined_validation_context: { default_validation_context: {}, \
            validation_context_sds_secret_config: { name: ca, sds_config: { ads: {} } } } } } }
            """
        let check =
            "health_checks: [ { timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: { send: { text: 7e51 } } } ]"
        func yaml(_ sds: String) -> String {
            Yaml.bootstrap(
                listeners: Yaml.listener(routes: Yaml.forward()),
                clusters: Yaml.cluster("backend", [1], sds)
                    + Yaml.cluster("checked", [1], check)
                    .replacing(" endpoints: [ {", with: " endpoints: [ { priority: 2 }, {"))
                + "dynamic_resources: { ads_config: { api_type: GRPC, transport_api_version: V3, grpc_services: [ { envoy_grpc: { cluster_name: backend } } ] } }\n"
                + "node: { id: a, cluster: b }\n"
        }
        let istio =
            "bootstrap_extensions: [ { name: i, typed_config: { \"@type\": type.googleapis.com/udpa.type.v1.TypedStruct, type_url: type.googleapis.com/%TYPE%, value: { buffer_size_kb: 64 } } } ]\n"
        options.configYAML =
            yaml(sds)
            + istio.replacing("%TYPE%", with: "envoy.extensions.bootstrap.internal_listener.v3.InternalListener")
        #expect(
            try ProxyServer.validate(options).contains {
                $0.contains("bootstrap_extensions[0].typed_config.buffer_size_kb: ignored: ")
            })
        #expect(
            refusal(yaml("") + istio.replacing("%TYPE%", with: "some.Other")).contains(
                "bootstrap_extensions[0]: unknown extension some.Other"))
        #expect(
            refusal(
                yaml(
                    sds.replacing("combined_validation_context: { default_validation_context: {}, ", with: "")
                        .replacing(
                            "validation_context_sds_secret_config: { name: ca, sds_config: { ads: {} } } } } } }",
                            with: "} } }"))
            ).contains("auto_sni_san_validation: it needs trusted_ca"))
    }

    @Test("a port in use is told with the address")
    func portInUse() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in "" }
            await #expect {
                _ = try await RunningProxy.start(
                    Yaml.bootstrap(
                        listeners: Yaml.listener(port: upstream.port, routes: Yaml.forward()),
                        clusters: Yaml.cluster("backend", [1])))
            } throws: { error in
                "\(error)".contains("static_resources.listeners[0].address: listen on 127.0.0.1:\(upstream.port)")
            }
        }
    }

    @Test("flags are Envoy's; wrong usage is told")
    func flags() throws {
        let options = try Options(arguments: [
            "-c", "a.yaml", "--concurrency", "3", "-l", "warning", "--mode=validate", "--drain-time-s", "7",
        ])
        #expect(options.configPath == "a.yaml")
        #expect(options.concurrency == 3)
        #expect(options.mode == .validate)
        #expect(options.drainTime == .seconds(7))
        #expect(throws: UsageError.self) { try Options(arguments: ["--concurrency", "many"]) }
        #expect(throws: UsageError.self) { try Options(arguments: ["--no-such-flag"]) }
    }
}
