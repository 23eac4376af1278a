import EnvoyAPI
import HTTP
import IO
import Serialization
import Synchronization
import Testing

@testable import Proxy

/// `FULL_DUPLEX_STREAMED`: what the processor sends is the body.
@Suite("Filters: ext_proc, full duplex")
struct ExtProcDuplexTests {
    private static let request =
        "processing_mode: { request_body_mode: FULL_DUPLEX_STREAMED, request_trailer_mode: SEND, response_header_mode: SKIP }"
    private static let response =
        "processing_mode: { request_header_mode: SKIP, response_body_mode: FULL_DUPLEX_STREAMED, response_trailer_mode: SEND }"

    private static func piece(_ bytes: [UInt8], isEnd: Bool, ofRequest: Bool = true) -> ProcessingResponse {
        var piece = StreamedBodyResponse()
        piece.body = bytes
        piece.endOfStream = isEnd
        var mutation = BodyMutation()
        mutation.mutation = .streamedResponse(piece)
        var common = ExtProcCommonResponse()
        common.bodyMutation = mutation
        var body = ExtProcBodyResponse()
        body.response = common
        var response = ProcessingResponse()
        response.response = ofRequest ? .requestBody(body) : .responseBody(body)
        return response
    }

    private static func head(_ fields: (String, String)..., ofRequest: Bool = true) -> ProcessingResponse {
        var heads = ExtProcHeadersResponse()
        var mutation = ExtProcHeaderMutation()
        mutation.setHeaders = fields.map { name, value in
            var option = HeaderValueOption()
            var header = HeaderValue()
            header.key = name
            header.rawValue = Array(value.utf8)
            option.header = header
            return option
        }
        heads.response = ExtProcCommonResponse()
        heads.response?.headerMutation = mutation
        var response = ProcessingResponse()
        response.response = ofRequest ? .requestHeaders(heads) : .responseHeaders(heads)
        return response
    }

    @Test("a processor that wants the whole message first answers head and body afterwards, in pieces of its own")
    func collects() async throws {
        let collected = Mutex<[UInt8]>([])
        try await ProcessorScene.run(Self.request) { request in
            guard case .requestBody(let body)? = request.request else { return .silence }
            let whole = collected.withLock { bytes in
                bytes += body.body
                return bytes
            }
            guard body.endOfStream else { return .silence }
            return .messages([
                Self.head(("x-length", "\(whole.count)")), Self.piece(Array(whole.prefix(3)), isEnd: false),
                Self.piece(Array("-".utf8), isEnd: false), Self.piece(Array(whole.dropFirst(3)), isEnd: true),
            ])
        } _: { scene async throws in
            try await scene.client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello ")
            // The piece is with the processor before the rest of it is said.
            try await until { collected.withLock { $0.count } == 6 }
            try await scene.client.write("world")
            let response = try await scene.client.response()
            #expect(response.status == 200)
            #expect(response.body.contains("x-length: 11"))
            #expect(response.body.contains("transfer-encoding: chunked"))
            #expect(response.body.hasSuffix("\r\n\r\nhel-lo world"))
        }
    }

    @Test("pieces go on as they come back, and trailers after them")
    func streams() async throws {
        try await ProcessorScene.run(Self.request) { request in
            switch request.request {
            case .requestBody(let body):
                return body.body.isEmpty && !body.endOfStream
                    ? .silence : .message(Self.piece(body.body.map { $0 &- 32 }, isEnd: body.endOfStream))
            case .requestTrailers:
                return ExtProcTests.answer(request, trailers: ExtProcTests.set(("x-more", "2")))
            default: return .message(Self.head())
            }
        } _: { scene async throws in
            for _ in 0..<2 {
                try await scene.client.write(
                    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\nx-end: 1\r\n\r\n"
                )
                let response = try await scene.client.response()
                #expect(response.status == 200)
                #expect(response.body.hasSuffix("ABCDEF"))
            }
            #expect(try await scene.client.get("/").status == 200)
        }
    }

    @Test("the response's body is the processor's, in as many pieces as it likes, and more than came")
    func responses() async throws {
        try await ProcessorScene.run(
            Self.response, reply: { _, _ in ScriptedUpstream.ok("body") }
        ) { request in
            switch request.request {
            case .responseBody(let body):
                let pieces = body.body.map { Self.piece([$0, $0], isEnd: false, ofRequest: false) }
                return .messages(pieces + (body.endOfStream ? [Self.piece([33], isEnd: true, ofRequest: false)] : []))
            default: return .message(Self.head(("x-changed", "1"), ofRequest: false))
            }
        } _: { scene async throws in
            for _ in 0..<2 {
                let response = try await scene.client.get("/")
                #expect(response.body == "bboodyy!" || response.body == "bbooddyy!")
                #expect(response.field("x-changed") == "1")
                #expect(response.field("content-length") == nil)
            }
        }
    }

    @Test("what a processor took and did not give back is not passed for whole, even where failures are allowed")
    func fails() async throws {
        try await ProcessorScene.run(Self.request + ", failure_mode_allow: true") { request in
            if case .requestBody? = request.request { return .end(0) }
            return .message(Self.head())
        } _: { scene async throws in
            try await scene.client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            let response = try await scene.client.response()
            #expect(response.status == 500)
            #expect(try await scene.stat("http.ingress.ext_proc.streams_started") == 1)
        }
    }

    @Test("a processor that wants no more of the body ends it early; what comes of it goes nowhere")
    func endsEarly() async throws {
        let hasEnded = Mutex(false)
        try await ProcessorScene.run(Self.request) { request in
            if case .requestBody? = request.request {
                let isFirst = hasEnded.withLock { ended in
                    defer { ended = true }
                    return !ended
                }
                return isFirst ? .message(Self.piece(Array("short".utf8), isEnd: true)) : .silence
            }
            return .message(Self.head())
        } _: { scene async throws in
            let client = scene.client
            try await client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\nhello")
            try await client.write(String(repeating: "x", count: 199_995))
            let response = try await client.response()
            #expect(response.status == 200)
            #expect(response.body.hasSuffix("\r\n\r\nshort"))
            #expect(try await client.get("/").status == 200)
        }
    }

    @Test("without trailers, or with a piece before the head, there is no full duplex")
    func refused() async throws {
        do {
            try await ProcessorScene.run("processing_mode: { request_body_mode: FULL_DUPLEX_STREAMED }") { _ in
                .silence
            } _: { _ in
            }
            Issue.record("taken")
        } catch {
            #expect("\(error)".contains("processing_mode.request_trailer_mode: must be SEND"), "\(error)")
        }
        try await ProcessorScene.run(Self.request) { request in
            if case .requestBody(let body)? = request.request { return .message(Self.piece(body.body, isEnd: true)) }
            return .silence
        } _: { scene async throws in
            try await scene.client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            #expect(try await scene.client.response().status == 500)
            #expect(try await scene.stat("http.ingress.ext_proc.spurious_msgs_received") == 1)
        }
    }
}
