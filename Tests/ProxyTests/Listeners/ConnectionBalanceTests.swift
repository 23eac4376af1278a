import IO
import Testing

@testable import Proxy

@Suite("Connections over workers")
struct ConnectionBalanceTests {
    @Test("small differences stay, large ones go to the worker with the fewest")
    func choice() {
        #expect(ConnectionBalance.choose([19, 17], 0, isExact: false) == 0)
        #expect(ConnectionBalance.choose([20, 17], 0, isExact: false) == 1)
        #expect(ConnectionBalance.choose([4, 3], 0, isExact: false) == 1)
        #expect(ConnectionBalance.choose([1, 0], 0, isExact: true) == 1)
        #expect(ConnectionBalance.choose([36, 30, 40], 2, isExact: false) == 1)
    }

    @Test("64 connections that all come to one worker are split 40:60 or better")
    func split() {
        let balance = ConnectionBalance(workers: 2)
        let chosen = (0..<64).map { _ in balance.take(0, isExact: false) }
        #expect((26...38).contains(chosen.count { $0 == 0 }))
    }

    @Test("connections that were handed over are served, by every worker")
    func served() async throws {
        try await onLoop { loop in
            let proxy = try await RunningProxy.start(
                """
                admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
                static_resources:
                  listeners:
                  - name: l
                    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
                    connection_balance_config: { exact_balance: {} }
                    filter_chains:
                    - filters:
                      - name: echo
                        typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo }

                """, concurrency: 2)
            defer { proxy.stop() }
            var clients: [Wire] = []
            for _ in 0..<20 {
                let client = try await Wire.connect(to: proxy.address, on: loop)
                try await client.write("hello")
                #expect(try await client.read(5) == "hello")
                clients.append(client)
            }
            let admin = try await Wire.connect(to: #require(proxy.admin), on: loop)
            let stats = try await admin.get("/stats?filter=worker_").body
            #expect(stats.contains("worker_0.downstream_cx_active: 10"), "\(stats)")
            #expect(stats.contains("worker_1.downstream_cx_active: 10"), "\(stats)")
            for client in clients { client.close() }
        }
    }
}
