import IO
import Proxy
import Testing

/// A proxy on its own threads, for the length of a test.
final class RunningProxy: Sendable {
    let server: ProxyServer
    let address: SocketAddress
    let admin: SocketAddress?

    /// Starts with a bootstrap and waits until it is live; the first listener's address is `address`.
    static func start(
        _ yaml: String, concurrency: Int = 1, drain: Duration = .seconds(5), waitsForLive: Bool = true
    ) async throws -> RunningProxy {
        var options = Options()
        options.configYAML = yaml
        options.concurrency = concurrency
        options.drainTime = drain
        let server = try ProxyServer(options)
        let result: Result<(SocketAddress?, SocketAddress?), ProxyError> = await withCheckedContinuation {
            continuation in
            do {
                try Thread.start(name: "proxy") {
                    do throws(ProxyError) {
                        try server.start()
                    } catch {
                        return continuation.resume(returning: .failure(error))
                    }
                    let finish: @Sendable () -> Void = {
                        continuation.resume(
                            returning: .success(
                                (server.listenerAddresses.sorted { $0.key < $1.key }.first?.value, server.adminAddress))
                        )
                    }
                    if waitsForLive { server.notifyWhenLive(finish) } else { finish() }
                    _ = server.run()
                }
            } catch {
                Issue.record("\(error)")
            }
        }
        let (address, admin) = try result.get()
        return RunningProxy(server, address ?? .ip(.v4(0), port: 0), admin)
    }

    private init(_ server: ProxyServer, _ address: SocketAddress, _ admin: SocketAddress?) {
        self.server = server
        self.address = address
        self.admin = admin
    }

    func stop() { server.shutDown() }
}

/// Runs a test's body on a loop of its own.
func onLoop(_ body: @escaping @Sendable (EventLoop) async throws -> Void) async throws {
    let loop = try EventLoop.start(name: "test")
    defer { loop.stop() }
    try await Task(executorPreference: loop) { try await body(loop) }.value
}

/// Bootstraps for tests, from parts.
enum Yaml {
    static func listener(
        _ name: String = "ingress", port: UInt16 = 0, manager: String = "", filters: String = "", routes: String
    ) -> String {
        """
          - name: \(name)
            address: { socket_address: { address: 127.0.0.1, port_value: \(port) } }
            filter_chains:
            - filters:
              - name: envoy.filters.network.http_connection_manager
                typed_config:
                  "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                  stat_prefix: \(name)
                  \(manager)
                  http_filters:
        \(filters)
                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
                  route_config:
                    name: local
                    virtual_hosts:
                    - name: all
                      domains: ["*"]
                      routes: \(routes)

        """
    }

    static func tcpListener(_ name: String = "tcp", _ proxy: String) -> String {
        """
          - name: \(name)
            address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
            filter_chains:
            - filters:
              - name: envoy.filters.network.tcp_proxy
                typed_config:
                  "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
                  stat_prefix: tcp
                  \(proxy)

        """
    }

    static func cluster(_ name: String, _ ports: [UInt16], _ more: String = "") -> String {
        let hosts = ports.map {
            "{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: \($0) } } } }"
        }.joined(separator: ", ")
        return """
              - name: "\(name)"
                type: STATIC
                connect_timeout: 5s
                \(more)
                load_assignment: { cluster_name: "\(name)", endpoints: [ { lb_endpoints: [ \(hosts) ] } ] }

            """
    }

    static func bootstrap(listeners: String, clusters: String, admin: Bool = false) -> String {
        (admin ? "admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }\n" : "")
            + "static_resources:\n  listeners:\n" + listeners + "  clusters:\n" + clusters
    }

    /// One route to a cluster.
    static func forward(_ cluster: String = "backend", _ more: String = "") -> String {
        "[ { match: { prefix: \"/\" }, route: { cluster: \"\(cluster)\"\(more.isEmpty ? "" : ", " + more) } } ]"
    }
}
