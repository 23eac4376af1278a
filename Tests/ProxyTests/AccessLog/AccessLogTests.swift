import HTTP
import IO
import Proxy
import Serialization
import Testing

@Suite("Access logs", .serialized)
struct AccessLogTests {
    private func temporary(_ name: String) -> String { "/tmp/skein-log-\(Environment.processID)-\(name)" }

    private func lines(_ path: String, atLeast count: Int, on loop: EventLoop) async throws -> [String] {
        for _ in 0..<3000 {
            if let text = try? File.text(path) {
                let lines = text.split(separator: "\n").map(String.init)
                if lines.count >= count { return lines }
            }
            await loop.sleep(for: .milliseconds(10))
        }
        return try File.text(path).split(separator: "\n").map(String.init)
    }

    private func log(_ path: String, _ format: String, filter: String = "") -> String {
        """
        access_log: [ { name: a, \(filter) typed_config: { "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: "\(path)", log_format: \(format) } } ]
        """
    }

    @Test("a request leaves one line with its facts; filters choose")
    func file() async throws {
        let path = temporary("file")
        defer { try? File.remove(path) }
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("hi", "x-up: 1\r\n") }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(
                        manager: self.log(
                            path,
                            #"{ json_format: { code: "%RESPONSE_CODE%", path: "%REQ(:PATH)%", up: "%RESP(x-up)%", host: "%UPSTREAM_HOST%", flags: "%RESPONSE_FLAGS%", details: "%RESPONSE_CODE_DETAILS%", protocol: "%UPSTREAM_PROTOCOL%" } }"#,
                            filter:
                                "filter: { header_filter: { header: { name: \":path\", string_match: { prefix: \"/yes\" } } } },"
                        ), routes: Yaml.forward()), clusters: Yaml.cluster("backend", [upstream.port])))
            let client = try await Wire.connect(to: proxy.address, on: loop)
            _ = try await client.get("/no")
            _ = try await client.get("/yes?a=%22")
            proxy.stop()
            let lines = try await self.lines(path, atLeast: 1, on: loop)
            #expect(lines.count == 1)
            let json = try JSON.parse(lines.first ?? "")
            #expect(json["code"] == 200)
            #expect(json["path"] == "/yes?a=%22")
            #expect(json["up"] == "1")
            #expect(json["host"]?.string == "127.0.0.1:\(upstream.port)")
            #expect(json["flags"] == "-")
            #expect(json["details"] == "via_upstream")
            #expect(json["protocol"] == "HTTP/1.1")
        }
    }

    @Test("each request tells the own address of the upstream connection that carried it")
    func ownAddress() async throws {
        let path = temporary("own")
        defer { try? File.remove(path) }
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, _ in
                ScriptedUpstream.ok("hi", head.contains("/last") ? "connection: close\r\n" : "")
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(
                        manager: self.log(
                            path, #"{ text_format_source: { inline_string: "%UPSTREAM_LOCAL_ADDRESS%\n" } }"#),
                        routes: Yaml.forward()), clusters: Yaml.cluster("backend", [upstream.port])))
            let client = try await Wire.connect(to: proxy.address, on: loop)
            for path in ["/", "/last", "/"] { _ = try await client.get(path) }
            proxy.stop()
            let lines = try await self.lines(path, atLeast: 3, on: loop)
            #expect(lines.count == 3 && lines.allSatisfy { $0.hasPrefix("127.0.0.1:") })
            #expect(lines.first == lines.dropFirst().first && lines.last != lines.first)
        }
    }

    @Test("lines at the beginning of a request and while it lasts, where they are asked for")
    func moments() async throws {
        let path = temporary("moments")
        defer { try? File.remove(path) }
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in
                _ = try await wire.request()
                await loop.sleep(for: .milliseconds(600))
                try await wire.write(ScriptedUpstream.ok("late"))
            }
            let options =
                "access_log_options: { flush_access_log_on_new_request: true, access_log_flush_interval: 0.02s }"
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(
                        manager: self.log(
                            path, #"{ text_format_source: { inline_string: "%ACCESS_LOG_TYPE% %RESPONSE_CODE%\n" } }"#)
                            + "\n          " + options, routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [upstream.port])))
            let client = try await Wire.connect(to: proxy.address, on: loop)
            _ = try await client.get("/")
            proxy.stop()
            let lines = try await self.lines(path, atLeast: 3, on: loop)
            #expect(lines.first == "DownstreamStart 0")
            #expect(lines.last == "DownstreamEnd 200")
            #expect(lines.contains("DownstreamPeriodic 0"))
        }
    }

    @Test("a TCP connection leaves lines at its beginning, when it is connected, and at its end")
    func tcp() async throws {
        let path = temporary("tcp")
        defer { try? File.remove(path) }
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in
                _ = try await wire.read(4)
                try await wire.write("pong")
            }
            let format =
                #"{ text_format_source: { inline_string: "%ACCESS_LOG_TYPE% %BYTES_RECEIVED% %BYTES_SENT% %UPSTREAM_CLUSTER% %REQ(x)%\n" } }"#
            let options =
                "access_log_options: { flush_access_log_on_start: true, flush_access_log_on_connected: true }"
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.tcpListener(
                        "tcp", "cluster: backend\n          " + options + "\n          " + self.log(path, format)),
                    clusters: Yaml.cluster("backend", [upstream.port])))
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write("ping")
            #expect(await client.readToEnd() == "pong")
            client.close()
            proxy.stop()
            let lines = try await self.lines(path, atLeast: 3, on: loop)
            #expect(
                lines == [
                    "TcpConnectionStart 0 0 - -", "TcpUpstreamConnected 0 0 backend -",
                    "TcpConnectionEnd 4 4 backend -",
                ])
        }
    }

    @Test("a listener's log tells of connections that end, and of those that no filter chain takes")
    func listener() async throws {
        let path = temporary("listener")
        defer { try? File.remove(path) }
        try await onLoop { loop in
            let format =
                #"{ text_format_source: { inline_string: "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %FILTER_CHAIN_NAME%\n" } }"#
            func listener(_ name: String, _ match: String) -> String {
                """
                  - name: \(name)
                    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
                    \(self.log(path, format))
                    filter_chains:
                    - name: \(name)-chain
                      \(match)
                      filters:
                      - name: envoy.filters.network.tcp_proxy
                        typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: backend }

                """
            }
            for (name, match) in [("a", "filter_chain_match: { destination_port: 1 }"), ("b", "")] {
                let proxy = try await RunningProxy.start(
                    Yaml.bootstrap(listeners: listener(name, match), clusters: Yaml.cluster("backend", [1])))
                let client = try await Wire.connect(to: proxy.address, on: loop)
                _ = await client.readToEnd()
                client.close()
                proxy.stop()
                _ = try await self.lines(path, atLeast: name == "a" ? 1 : 2, on: loop)
            }
            #expect(
                try await self.lines(path, atLeast: 2, on: loop) == ["NR filter_chain_not_found -", "- - b-chain"])
        }
    }

    @Test("a log that cannot be written is counted and stops nobody")
    func unwritable() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("hi") }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(
                        manager: self.log("/nonexistent/dir/log", #"{ text_format: "x\n" }"#), routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [upstream.port]), admin: true))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/").status == 200)
            let admin = try await Wire.connect(to: try #require(proxy.admin), on: loop)
            var body = ""
            for _ in 0..<3000 {
                body = try await admin.get("/stats?filter=filesystem").body
                if body.contains("filesystem.write_failed: 1") { break }
                await loop.sleep(for: .milliseconds(10))
            }
            #expect(body.contains("filesystem.write_failed: 1\n"))
            #expect(body.contains("filesystem.reopen_failed: 1\n"))
        }
    }

    @Test("local_reply_config changes status, body and headers of answers of the proxy's own")
    func localReply() async throws {
        try await onLoop { loop in
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(
                        manager: #"""
                            local_reply_config: { mappers: [ { filter: { status_code_filter: { comparison: { op: EQ, value: { default_value: 503, runtime_key: k } } } }, status_code: 500, body: { inline_string: "sorry" }, headers_to_add: [ { header: { key: x-reply, value: "%RESPONSE_FLAGS%" } } ] } ], body_format: { json_format: { message: "%LOCAL_REPLY_BODY%", path: "%REQ(:path)%", code: "%RESPONSE_CODE%" } } }
                            """#, routes: Yaml.forward()), clusters: Yaml.cluster("backend", [])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let response = try await client.get("/p")
            #expect(response.status == 500)
            #expect(response.field("x-reply") == "UH")
            #expect(response.field("content-type") == "application/json")
            #expect(try JSON.parse(response.body) == ["message": "sorry", "path": "/p", "code": 503])
        }
    }

    @Test("header formats of routes use the same operators")
    func headerFormats() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, _ in
                ScriptedUpstream.ok(head.lowercased().contains("x-query: a b\r\n") ? "yes" : "no:\(head)")
            }
            let route =
                #"[ { match: { prefix: "/" }, route: { cluster: backend }, request_headers_to_add: [ { header: { key: x-query, value: "%QUERY_PARAM(q)%" } } ], response_headers_to_add: [ { header: { key: x-code, value: "c=%RESPONSE_CODE%" } } ] } ]"#
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: route), clusters: Yaml.cluster("backend", [upstream.port])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let response = try await client.get("/?q=a%20b")
            #expect(response.body == "yes")
            #expect(response.field("x-code")?.hasPrefix("c=") == true)
        }
        await #expect(throws: ProxyError.self) {
            let route =
                #"[ { match: { prefix: "/" }, route: { cluster: backend }, request_headers_to_add: [ { header: { key: x, value: "%COMMON_DURATION(nope)%" } } ] } ]"#
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(listeners: Yaml.listener(routes: route), clusters: Yaml.cluster("backend", [])))
            proxy.stop()
        }
    }
}
