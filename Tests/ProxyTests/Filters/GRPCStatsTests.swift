import HTTP
import Testing

@testable import Proxy

@Suite("Filters: grpc_stats")
struct GRPCStatsTests {
    private static func filter(_ fields: String) -> (name: String, config: String) {
        (
            "envoy.filters.http.grpc_stats",
            FilterScene.any("envoy.extensions.filters.http.grpc_stats.v3.FilterConfig", fields)
        )
    }

    @Test("messages are counted wherever their bytes are cut")
    func frames() {
        let body = GRPCScene.frame("hello") + GRPCScene.frame("") + GRPCScene.frame("abc")
        for size in 1...body.count {
            var counter = GRPCFrameCounter()
            var sum: UInt64 = 0
            for start in stride(from: 0, to: body.count, by: size) {
                sum += body[start..<min(start + size, body.count)].withUnsafeBytes { counter.inspect($0) }
            }
            #expect(sum == 3 && counter.count == 3)
        }
        var counter = GRPCFrameCounter()
        #expect([UInt8](repeating: 255, count: 1000).withUnsafeBytes { counter.inspect($0) } == 1)
    }

    @Test("only /service/method names a method")
    func names() {
        let name = GRPCMethodName(path: Array("/a.B/C?x=/y".utf8))
        #expect(name == GRPCMethodName(service: "a.B", method: "C"))
        #expect(GRPCMethodName(path: Array("/a".utf8)) == nil)
        #expect(GRPCMethodName(path: Array("/a/b/c".utf8)) == nil)
        #expect(GRPCMethodName(path: []) == nil)
    }

    @Test("ATK-19: methods beyond the limit share their counters")
    func bounded() {
        let metrics = MetricSet(workers: 1)
        let book = GRPCCounterBook(element: "grpc")
        for number in 0..<GRPCLimits.methods {
            _ = book.counters(
                cluster: "c", method: GRPCMethodName(service: "s", method: "m\(number)"), metrics)
        }
        let one = book.counters(cluster: "c", method: GRPCMethodName(service: "s", method: "x"), metrics)
        let two = book.counters(cluster: "c", method: GRPCMethodName(service: "t", method: "y"), metrics)
        #expect(one === two)
    }

    @Test("with stats_for_all_methods each method is counted: calls, statuses, messages, time")
    func all() async throws {
        try await GRPCScene.run([Self.filter("stats_for_all_methods: true, enable_upstream_stats: true")]) {
            try await GRPCScene.answer($0, ["a", "b", "c"], status: $0.request.pathText.hasSuffix("Bad") ? "5" : "0")
        } _: { scene async throws in
            #expect(try await scene.call("/books.Shop/Buy", ["x", "y"]).trailers["grpc-status"] == "0")
            #expect(try await scene.call("/books.Shop/Bad", ["x"]).trailers["grpc-status"] == "5")
            let buy = "cluster.backend.grpc.books.Shop.Buy."
            #expect(try await scene.scene.stat(buy + "0") == 1)
            #expect(try await scene.scene.stat(buy + "success") == 1)
            #expect(try await scene.scene.stat(buy + "failure") == 0)
            #expect(try await scene.scene.stat(buy + "total") == 1)
            #expect(try await scene.scene.stat(buy + "request_message_count") == 2)
            #expect(try await scene.scene.stat(buy + "response_message_count") == 3)
            #expect(try await scene.scene.stat("cluster.backend.grpc.books.Shop.Bad.5") == 1)
            #expect(try await scene.scene.stat("cluster.backend.grpc.books.Shop.Bad.failure") == 1)
        }
    }

    @Test("without, the cluster's calls are counted together; an allowlist picks some; dots may be replaced")
    func some() async throws {
        let list = """
            individual_method_stats_allowlist: { services: [ { name: books.Shop, method_names: [ Buy ] } ] }, \
            replace_dots_in_grpc_service_name: true
            """
        try await GRPCScene.run([Self.filter(list)]) {
            try await GRPCScene.answer($0, ["a"])
        } _: { scene async throws in
            _ = try await scene.call("/books.Shop/Buy", ["x"])
            _ = try await scene.call("/books.Shop/Sell", ["x"])
            _ = try await scene.call("/books.Shop/Sell", ["x"], type: "application/json")
            #expect(try await scene.scene.stat("cluster.backend.grpc.books_Shop.Buy.total") == 1)
            #expect(try await scene.scene.stat("cluster.backend.grpc.total") == 1)
        }
    }

    @Test("a trailers-only answer counts; one of this proxy's own counts too")
    func trailersOnly() async throws {
        try await GRPCScene.run([Self.filter("")]) {
            try $0.respond(200, [("content-type", "application/grpc"), ("grpc-status", "7")], isEnd: true)
        } _: { scene async throws in
            _ = try await scene.call("/s/M", ["x"])
            #expect(try await scene.scene.stat("cluster.backend.grpc.7") == 1)
            #expect(try await scene.scene.stat("cluster.backend.grpc.failure") == 1)
        }
    }
}
