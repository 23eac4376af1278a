import HTTP
import Testing

@testable import Proxy

@Suite("Filters: grpc_web and grpc_http1_bridge")
struct GRPCWebTests {
    private static let web = (
        name: "grpc_web", config: FilterScene.any("envoy.extensions.filters.http.grpc_web.v3.GrpcWeb")
    )
    private static func bridge(_ fields: String = "") -> (name: String, config: String) {
        ("bridge", FilterScene.any("envoy.extensions.filters.http.grpc_http1_bridge.v3.Config", fields))
    }

    private static func base64(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        _ = Base64Groups.encode(bytes[...], isEnd: true, into: &text)
        return String(decoding: text, as: UTF8.self)
    }

    @Test("base64 there and back, for every length")
    func base64() {
        #expect(Self.base64(Array("hello".utf8)) == "aGVsbG8=")
        for length in 0..<50 {
            let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 37) }
            #expect(Base64Groups.decode(Array(Self.base64(bytes).utf8)[...]) == bytes)
        }
        #expect(Base64Groups.decode(Array("YQ==YWI=".utf8)[...]) == Array("aab".utf8))
        for wrong in ["a", "a===", "=aaa", "aa=a", "a$aa", "====", "aaaa\n\n\n\n"] {
            #expect(Base64Groups.decode(Array(wrong.utf8)[...]) == nil, "\(wrong)")
        }
    }

    @Test("frames are encoded one by one, wherever their bytes are cut")
    func frames() {
        let (one, two) = (GRPCScene.frame("hello"), GRPCScene.frame("x"))
        let body = one + two
        for size in 1...body.count {
            var encoder = GRPCWebTextEncoder()
            var text: [UInt8] = []
            for start in stride(from: 0, to: body.count, by: size) {
                text += encoder.encode(Array(body[start..<min(start + size, body.count)]))
            }
            #expect(String(decoding: text, as: UTF8.self) == Self.base64(one) + Self.base64(two))
        }
    }

    @Test("gRPC-Web: the request becomes gRPC, trailers become the last frame, in binary and in text")
    func web() async throws {
        try await GRPCScene.run([Self.web]) { exchange in
            try await exchange.finished()
            #expect(exchange.request.headers["content-type"] == "application/grpc")
            #expect(exchange.request.headers["te"] == "trailers")
            #expect(exchange.request.headers["content-length"] == nil)
            try exchange.respond(200, [("content-type", "application/grpc")])
            try exchange.send(exchange.body)
            try exchange.finish(trailers: [("grpc-status", "0"), ("x-t", "1")])
        } _: { scene async throws in
            let trailers = Array("grpc-status:0\r\nx-t:1\r\n".utf8)
            let last = GRPCFrame.header(flag: 0x80, length: trailers.count) + trailers
            let binary = try await scene.call("/s/M", ["hi"], type: "application/grpc-web+proto")
            #expect(binary.body == GRPCScene.frame("hi") + last)
            #expect(binary.trailers.isEmpty)
            #expect(binary.response.headers["content-type"] == "application/grpc-web+proto")
            let text = try scene.client.begin(
                "POST", "/s/M",
                fields: [("content-type", "application/grpc-web-text"), ("accept", "application/grpc-web-text")],
                isEnd: false)
            let message = Self.base64(GRPCScene.frame("hi"))
            try text.send(String(message.prefix(3)))
            try text.send(String(message.dropFirst(3)))
            try text.finish()
            try await text.finished()
            #expect(text.text == message + Self.base64(last))
            #expect(text.response.headers["content-type"] == "application/grpc-web-text+proto")
            #expect(try await scene.scene.stat("cluster.backend.grpc-web.s.M.success") == 2)
        }
    }

    @Test("an answer that is no gRPC becomes a status and a message, also one of the proxy's own")
    func plain() async throws {
        try await GRPCScene.run([Self.web]) { exchange in
            try await exchange.finished()
            try exchange.respond(404, [("content-type", "text/html")])
            try exchange.send("not here")
            try exchange.finish()
        } _: { scene async throws in
            let answer = try await scene.call("/s/M", ["hi"], type: "application/grpc-web")
            #expect(answer.status == 404)
            #expect(answer.response.headers["grpc-status"] == "12")
            #expect(answer.response.headers["grpc-message"] == "not here")
            #expect(answer.body.isEmpty)
            let broken = try scene.client.begin(
                "POST", "/s/M", fields: [("content-type", "application/grpc-web-text")], isEnd: false)
            try broken.send("abc")
            try broken.finish()
            try await broken.finished()
            #expect(broken.status == 400)
            #expect(broken.response.headers["grpc-message"] == "Bad gRPC-web request, invalid base64 data.")
        }
    }

    @Test("the bridge gives an HTTP/1.1 client status and message in the head")
    func bridged() async throws {
        try await GRPCScene.run([Self.bridge("ignore_query_parameters: true")]) {
            let isBad = $0.request.pathText == "/s/Bad"
            #expect(!$0.request.pathText.contains("?"))
            try await GRPCScene.answer($0, ["ok"], status: isBad ? "5" : "0")
        } _: { scene async throws in
            for (path, status, grpc) in [("/s/Good?x", 200, "0"), ("/s/Bad", 503, "5")] {
                try await scene.scene.client.write(
                    "POST \(path) HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0"
                )
                let response = try await scene.scene.client.response()
                #expect(response.status == status)
                #expect(response.field("grpc-status") == grpc)
                #expect(response.field("content-length") == "7")
            }
            let call = try await scene.call("/s/Good", ["x"])
            #expect(call.trailers["grpc-status"] == "0")
        }
    }

    @Test("the bridge frames a bare message and takes the frame off the answer")
    func upgraded() async throws {
        try await GRPCScene.run([Self.bridge("upgrade_protobuf_to_grpc: true")]) { exchange in
            try await exchange.finished()
            #expect(exchange.body == GRPCScene.frame("message"))
            try await GRPCScene.answer(exchange, ["answer"])
        } _: { scene async throws in
            try await scene.scene.client.write(
                "POST /s/M HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\nContent-Length: 7\r\n\r\nmessage"
            )
            let response = try await scene.scene.client.response()
            #expect(response.body == "answer")
            #expect(response.field("grpc-status") == "0")
        }
    }
}
