import Compression
import HTTP
import Synchronization
import Testing

@testable import Proxy

@Suite("Filters: compressor and decompressor")
struct CompressorFilterTests {
    private static let gzip =
        "{ name: text, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.compression.gzip.compressor.v3.Gzip } }"
    private static let zstd = gzip.replacing("gzip.compressor.v3.Gzip", with: "zstd.compressor.v3.Zstd")
    private static let brotli = gzip.replacing("gzip.compressor.v3.Gzip", with: "brotli.compressor.v3.Brotli")
    private static func compressor(
        _ fields: String = "response_direction_config: {}", library: String = gzip, name: String = "compressor"
    ) -> (name: String, config: String) {
        (
            name,
            FilterScene.any(
                "envoy.extensions.filters.http.compressor.v3.Compressor",
                "compressor_library: \(library)" + (fields.isEmpty ? "" : ", " + fields))
        )
    }
    private static func decompressor(_ fields: String = "", library packer: String = gzip) -> (
        name: String, config: String
    ) {
        let library = packer.replacing("compressor.v3", with: "decompressor.v3")
        return (
            "decompressor",
            FilterScene.any(
                "envoy.extensions.filters.http.decompressor.v3.Decompressor",
                "decompressor_library: \(library)" + (fields.isEmpty ? "" : ", " + fields))
        )
    }
    private static let text = String(repeating: "hello ", count: 100)

    private static func serve(
        _ exchange: HTTP2Exchange, _ fields: [(String, String)] = [("content-type", "text/plain")],
        status: UInt16 = 200, body: [UInt8]? = nil
    ) async throws {
        try await exchange.finished()
        try exchange.respond(status, fields)
        try exchange.send(body ?? Array(text.utf8))
        try exchange.finish()
    }

    static func unpack(_ bytes: [UInt8], _ decoder: any StreamDecoder) throws -> String {
        var unpacked: [UInt8] = []
        try bytes.withUnsafeBytes { try decoder.decodeAll($0, upTo: 1 << 20, into: &unpacked) }
        return String(decoding: unpacked, as: UTF8.self)
    }

    @Test("accept-encoding: qualities, *, identity and q=0 are heeded")
    func negotiation() {
        func choose(_ field: String, _ candidates: [String] = ["gzip", "br"], first: String = "") -> String {
            let choice = AcceptEncoding.choose(
                field, among: candidates.map { .init(encoding: $0, choosesFirst: $0 == first) })
            return "\(choice.encoding) \(choice.reason)"
        }
        #expect(choose("gzip") == "gzip compressor")
        #expect(choose("br, gzip") == "br compressor")
        #expect(choose("gzip;q=0.5, br;q=0.9") == "br compressor")
        #expect(choose("br, gzip", first: "gzip") == "gzip compressor")
        #expect(choose("*") == "gzip wildcard")
        #expect(choose("gzip;q=0, *") == "br wildcard")
        #expect(choose("gzip;q=0, *;q=0.5", ["gzip"]) == "identity notValid")
        #expect(choose("identity, gzip;q=0.5") == "identity identity")
        #expect(choose("deflate") == "identity notValid")
        #expect(choose("gzip;q=x") == "identity notValid")
        #expect(choose("gzip ; q = 0.3 , br;q=0.2") == "gzip compressor")
        #expect(choose("") == "identity notValid")
        #expect(choose("gzip", []) == "identity notValid")
    }

    @Test("a coding is advertised once")
    func advertised() {
        #expect(AcceptEncoding.adding("gzip", to: "") == "gzip")
        #expect(AcceptEncoding.adding("gzip", to: "br, gzip;q=0.3,deflate") == "br,deflate,gzip")
    }

    @Test("a response is packed for who accepts it, and can be unpacked; others get it as it is, with vary")
    func packs() async throws {
        try await GRPCScene.run(
            [
                Self.compressor(), Self.compressor(library: Self.brotli, name: "brotli"),
                Self.compressor(library: Self.zstd, name: "zstd"),
            ],
            serve: { try await Self.serve($0, [("content-type", "text/plain; charset=utf-8"), ("etag", "\"x\"")]) }
        ) { scene async throws in
            let gzip = try await scene.client.get("/", [("accept-encoding", "gzip")])
            #expect(gzip.response.headers["content-encoding"] == "gzip")
            #expect(gzip.response.headers["vary"] == "Accept-Encoding")
            #expect(gzip.response.headers["etag"] == nil)
            #expect(try Self.unpack(gzip.body, try GzipDecoder()) == Self.text)
            let zstd = try await scene.client.get("/", [("accept-encoding", "br;q=0.9, zstd")])
            #expect(zstd.response.headers["content-encoding"] == "zstd")
            #expect(try Self.unpack(zstd.body, try ZstdDecoder()) == Self.text)
            let brotli = try await scene.client.get("/", [("accept-encoding", "br;q=0.9, gzip;q=0.5")])
            #expect(brotli.response.headers["content-encoding"] == "br")
            #expect(try Self.unpack(brotli.body, try BrotliDecoder()) == Self.text)
            let plain = try await scene.client.get("/")
            #expect(plain.text == Self.text)
            #expect(plain.response.headers["vary"] == "Accept-Encoding")
            #expect(plain.response.headers["etag"] == "\"x\"")
            let prefix = "http.ingress.compressor.text."
            #expect(try await scene.scene.stat(prefix + "gzip.response.compressed") == 1)
            #expect(try await scene.scene.stat(prefix + "gzip.response.total_uncompressed_bytes") == 600)
            #expect(try await scene.scene.stat(prefix + "brotli.response.compressed") == 1)
            #expect(try await scene.scene.stat(prefix + "brotli.header_compressor_overshadowed") == 2)
            #expect(try await scene.scene.stat(prefix + "gzip.no_accept_header") == 1)
        }
    }

    @Test(
        "length, type, coding, etag, no-transform and status keep a response as it is, and the status header says why")
    func eligibility() async throws {
        let fields = """
            response_direction_config: { disable_on_etag_header: true, status_header_enabled: true, \
            uncompressible_response_codes: [ 404 ], common_config: { min_content_length: 100 } }
            """
        try await FilterScene.run([Self.compressor(fields)]) { head, _ in
            let path = head.split(separator: " ")[1]
            switch path {
            case "/short": return ScriptedUpstream.ok("hi")
            case "/type": return ScriptedUpstream.ok(Self.text, "Content-Type: image/png\r\n")
            case "/coded": return ScriptedUpstream.ok(Self.text, "Content-Encoding: br\r\n")
            case "/etag": return ScriptedUpstream.ok(Self.text, "ETag: W/\"x\"\r\n")
            case "/no-transform": return ScriptedUpstream.ok(Self.text, "Cache-Control: no-transform\r\n")
            case "/404": return ScriptedUpstream.ok(Self.text).replacing("200 OK", with: "404 Not Found")
            default: return ScriptedUpstream.ok(Self.text, "Vary: Origin\r\n")
            }
        } _: { scene async throws in
            let reasons: [(String, String?)] = [
                ("/short", "gzip;ContentLengthTooSmall"), ("/type", "gzip;ContentTypeNotAllowed"), ("/coded", nil),
                ("/etag", "gzip;EtagNotAllowed"), ("/no-transform", nil), ("/404", "gzip;StatusCodeNotAllowed"),
            ]
            for (path, reason) in reasons {
                let response = try await scene.client.get(path, "Accept-Encoding: gzip\r\n")
                #expect(response.field("x-envoy-compression-status") == reason)
                #expect(response.field("content-encoding") != "gzip")
                #expect(response.field("vary") == nil)
            }
            let response = try await scene.client.get("/", "Accept-Encoding: gzip\r\n")
            #expect(response.field("x-envoy-compression-status") == "gzip;Compressed;OriginalLength=600")
            #expect(response.field("transfer-encoding") == "chunked")
            #expect(response.field("content-length") == nil)
            #expect(response.field("vary") == "Origin, Accept-Encoding")
        }
    }

    @Test("a route switches responses off, or on where the filter is off; accept-encoding may be removed")
    func routes() async throws {
        let perRoute = "envoy.extensions.filters.http.compressor.v3.CompressorPerRoute"
        let routes = """
            [ { match: { prefix: "/off" }, route: { cluster: backend }, typed_per_filter_config: { compressor: \(FilterScene.any(perRoute, "disabled: true")) } }, \
            { match: { prefix: "/other" }, route: { cluster: backend }, typed_per_filter_config: { compressor: \(FilterScene.any(perRoute, "overrides: { response_direction_config: {}, compressor_library: \(Self.brotli) }")) } }, \
            { match: { prefix: "/" }, route: { cluster: backend } } ]
            """
        let fields = "response_direction_config: { remove_accept_encoding_header: true }"
        try await FilterScene.run([Self.compressor(fields)], routes: routes) { head, _ in
            ScriptedUpstream.ok(Self.text, "X-Got: \(head.lowercased().contains("accept-encoding"))\r\n")
        } _: { scene async throws in
            let off = try await scene.client.get("/off", "Accept-Encoding: gzip, br\r\n")
            #expect(off.body == Self.text && off.field("x-got") == "true")
            let other = try await scene.client.get("/other", "Accept-Encoding: gzip, br\r\n")
            #expect(other.field("content-encoding") == "br" && other.field("x-got") == "false")
            let usual = try await scene.client.get("/", "Accept-Encoding: gzip, br\r\n")
            #expect(usual.field("content-encoding") == "gzip" && usual.field("x-got") == "false")
        }
    }

    @Test("what one filter packs another unpacks: a request and a response")
    func roundTrip() async throws {
        let requests = Self.compressor("request_direction_config: {}", name: "requests")
        try await FilterScene.run([requests, Self.decompressor()]) { head, body in
            ScriptedUpstream.ok(body, "X-Head: \(head.lowercased().contains("content-encoding"))\r\n")
        } _: { scene async throws in
            try await scene.client.write(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 600\r\n\r\n" + Self.text)
            let response = try await scene.client.response()
            #expect(response.body == Self.text)
            #expect(response.field("x-head") == "false")
            #expect(try await scene.stat("http.ingress.compressor.text.gzip.request.compressed") == 1)
            #expect(try await scene.stat("http.ingress.decompressor.text.gzip.request.decompressed") == 1)
            #expect(try await scene.stat("http.ingress.decompressor.text.gzip.request.total_uncompressed_bytes") == 600)
        }
    }

    @Test("a packed response is unpacked, and trailers say how much it was")
    func unpacks() async throws {
        try await GRPCScene.run([Self.decompressor()]) { exchange in
            var packed: [UInt8] = []
            try Array(Self.text.utf8).withUnsafeBytes { try GzipEncoder().encode($0, isEnd: true, into: &packed) }
            try await Self.serve(
                exchange,
                [("content-encoding", "gzip, other"), ("x-accept", exchange.request.headers["accept-encoding"] ?? "")],
                body: packed)
        } _: { scene async throws in
            let response = try await scene.client.get("/", [("accept-encoding", "br")])
            #expect(response.text == Self.text)
            #expect(response.response.headers["content-encoding"] == "other")
            #expect(response.response.headers["x-accept"] == "br,gzip")
            #expect(response.trailers["x-envoy-decompressor-text-uncompressed-bytes"] == "600")
        }
    }

    @Test(
        "ATK-20 a bomb ends at its bound and damaged bytes at once; both are counted",
        arguments: ["gzip", "brotli", "zstd"])
    func bombs(_ kind: String) async throws {
        let isDamaged = Mutex(false)
        try await GRPCScene.run([
            Self.decompressor(library: ["brotli": Self.brotli, "zstd": Self.zstd][kind] ?? Self.gzip)
        ]) { exchange in
            let encoder: any StreamEncoder =
                switch kind {
                case "brotli": try BrotliEncoder()
                case "zstd": try ZstdEncoder()
                default: try GzipEncoder()
                }
            var packed: [UInt8] = []
            try [UInt8](repeating: 0, count: 4_000_000).withUnsafeBytes {
                try encoder.encode($0, isEnd: true, into: &packed)
            }
            if exchange.request.pathText == "/damaged" { packed = [UInt8](repeating: 0x78, count: 16) }
            try await Self.serve(exchange, [("content-encoding", kind == "brotli" ? "br" : kind)], body: packed)
        } _: { scene async throws in
            let bomb = try await scene.client.get("/bomb")
            #expect(bomb.bodyBytes < 1_000_000)
            let damaged = try await scene.client.get("/damaged")
            #expect(damaged.bodyBytes == 0)
            let prefix = "http.ingress.decompressor.text.\(kind).decompressor_library."
            switch kind {
            case "brotli":
                #expect(try await scene.scene.stat(prefix + "brotli_output_overflow") == 1)
                #expect(try await scene.scene.stat(prefix + "brotli_error") == 1)
            case "zstd": #expect(try await scene.scene.stat(prefix + "zstd_generic_error") == 2)
            default:
                #expect(try await scene.scene.stat(prefix + "zlib_data_error") == 2)
            }
            isDamaged.withLock { $0 = true }
        }
        #expect(isDamaged.withLock { $0 })
    }
}
