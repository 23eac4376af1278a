import IO
import Testing

@testable import Proxy

@Suite("Internal listeners")
struct InternalListenerTests {
    private static func inner(_ more: String = "") -> String {
        Yaml.tcpListener("inner", "cluster: backend").replacing(
            "address: { socket_address: { address: 127.0.0.1, port_value: 0 } }",
            with: "internal_listener: {}\n    \(more)")
    }

    private static func cluster(_ listener: String) -> String {
        """
          - name: inside
            type: STATIC
            connect_timeout: 5s
            load_assignment: { cluster_name: inside, endpoints: [ { lb_endpoints: [ { endpoint: { address: { envoy_internal_address: { server_listener_name: \(listener) } } } } ] } ] }

        """
    }

    @Test("a cluster reaches a listener of the same process, and 1 MiB goes there and back")
    func through() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, body in ScriptedUpstream.ok(body) }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener("an ingress", routes: Yaml.forward("inside")) + Self.inner(),
                    clusters: Self.cluster("inner") + Yaml.cluster("backend", [upstream.port])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let size = 1 << 20
            for _ in 0..<2 {
                try await client.write(
                    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(size)\r\n\r\n"
                        + String(repeating: "x", count: size))
                #expect(try await client.response().body.utf8.count == size)
            }
        }
    }

    @Test("a listener that is not there is a connection that fails")
    func missing() async throws {
        try await onLoop { loop in
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward("inside")), clusters: Self.cluster("ghost")))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/").status == 503)
        }
    }

    @Test("what needs a socket is refused on an internal listener, with its path")
    func refused() async throws {
        for (field, path) in [
            ("transparent: true", "transparent"), ("tcp_backlog_size: 5", "tcp_backlog_size"),
            ("address: { socket_address: { address: 127.0.0.1, port_value: 0 } }", "address"),
        ] {
            do {
                let proxy = try await RunningProxy.start(
                    Yaml.bootstrap(listeners: Self.inner(field), clusters: Yaml.cluster("backend", [9])))
                proxy.stop()
                Issue.record("\(field) was taken")
            } catch {
                #expect("\(error)".contains("static_resources.listeners[0].\(path)"), "\(error)")
            }
        }
    }
}
