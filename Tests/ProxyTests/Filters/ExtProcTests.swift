import EnvoyAPI
import HTTP
import IO
import Serialization
import Synchronization
import Testing

@testable import Proxy

/// A proxy with an external processor that does what a script says, in front of a server that echoes what it got.
struct ProcessorScene {
    let client: Wire
    let proxy: RunningProxy
    let loop: EventLoop
    let upstream: ScriptedUpstream

    enum Answer: Sendable {
        case message(ProcessingResponse)
        case messages([ProcessingResponse])
        case silence
        case end(Int)
    }

    static let name = "envoy.filters.http.ext_proc"

    static func run(
        _ fields: String, routes: String = Yaml.forward(),
        reply: @escaping @Sendable (_ head: String, _ body: String) -> String = { head, body in
            ScriptedUpstream.ok(head + body, "X-Up: 1\r\n")
        },
        answer: @escaping @Sendable (ProcessingRequest) -> Answer,
        _ body: @escaping @Sendable (ProcessorScene) async throws -> Void
    ) async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop, answering: reply)
            let service = try await HTTP2Upstream(on: loop) { exchange in
                var taken = 0
                var isFirst = true
                while true {
                    await exchange.received(taken + 5)
                    guard exchange.body.count >= taken + 5 else { return }
                    let count = exchange.body[(taken + 1)...(taken + 4)].reduce(0) { $0 << 8 | Int($1) }
                    await exchange.received(taken + 5 + count)
                    guard exchange.body.count >= taken + 5 + count else { return }
                    let bytes = Array(exchange.body[(taken + 5)..<(taken + 5 + count)])
                    taken += 5 + count
                    switch answer(try ProcessingRequest(serialized: bytes)) {
                    case .message(let response):
                        if isFirst { try exchange.respond(200, [("content-type", "application/grpc")]) }
                        isFirst = false
                        try exchange.send(GRPCMessageDecoder.frame(response.serialized()))
                    case .messages(let responses):
                        if isFirst, !responses.isEmpty {
                            try exchange.respond(200, [("content-type", "application/grpc")])
                            isFirst = false
                        }
                        for response in responses { try exchange.send(GRPCMessageDecoder.frame(response.serialized())) }
                    case .silence: break
                    case .end(let status) where !isFirst:
                        try exchange.finish(trailers: [("grpc-status", "\(status)")])
                        return
                    case .end(let status):
                        try exchange.respond(
                            200, [("content-type", "application/grpc"), ("grpc-status", "\(status)")], isEnd: true)
                        return
                    }
                }
            }
            let filter = FilterScene.any(
                "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
                "grpc_service: { envoy_grpc: { cluster_name: service } }, message_timeout: 5s"
                    + (fields.isEmpty ? "" : ", " + fields))
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(filters: FilterScene.entries([(name, filter)]), routes: routes),
                    clusters: Yaml.cluster(
                        "backend", [upstream.port], "http_protocol_options: { enable_trailers: true }")
                        + Yaml.cluster("service", [service.port], Yaml.http2), admin: true))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await body(ProcessorScene(client: client, proxy: proxy, loop: loop, upstream: upstream))
        }
    }

    func stat(_ name: String) async throws -> Int? {
        try await FilterScene(client: client, proxy: proxy, loop: loop, upstream: upstream).stat(name)
    }
}

@Suite("Filters: ext_proc")
struct ExtProcTests {
    static func set(_ fields: (String, String)..., remove: [String] = []) -> ExtProcHeaderMutation {
        var mutation = ExtProcHeaderMutation()
        mutation.setHeaders = fields.map { name, value in
            var option = HeaderValueOption()
            var header = HeaderValue()
            header.key = name
            header.rawValue = Array(value.utf8)
            option.header = header
            option.appendAction = .overwriteIfExistsOrAdd
            return option
        }
        mutation.removeHeaders = remove
        return mutation
    }

    static func common(
        _ mutation: ExtProcHeaderMutation? = nil, body: [UInt8]? = nil, replaces: Bool = false
    ) -> ExtProcCommonResponse {
        var common = ExtProcCommonResponse()
        common.headerMutation = mutation
        if let body {
            var change = BodyMutation()
            change.mutation = .body(body)
            common.bodyMutation = change
        }
        if replaces { common.status = .continueAndReplace }
        return common
    }

    /// The answer to a message, which changes nothing unless said.
    static func answer(
        _ request: ProcessingRequest, head: ExtProcCommonResponse = common(), body: ExtProcCommonResponse = common(),
        trailers: ExtProcHeaderMutation? = nil
    ) -> ProcessorScene.Answer {
        var response = ProcessingResponse()
        var heads = ExtProcHeadersResponse()
        heads.response = head
        var bodies = ExtProcBodyResponse()
        bodies.response = body
        var ends = ExtProcTrailersResponse()
        ends.headerMutation = trailers
        switch request.request {
        case .requestHeaders: response.response = .requestHeaders(heads)
        case .responseHeaders: response.response = .responseHeaders(heads)
        case .requestBody: response.response = .requestBody(bodies)
        case .responseBody: response.response = .responseBody(bodies)
        case .requestTrailers: response.response = .requestTrailers(ends)
        case .responseTrailers: response.response = .responseTrailers(ends)
        case nil: return .end(3)
        }
        return .message(response)
    }

    @Test("both heads are sent unless configured otherwise, and changed as the processor says")
    func heads() async throws {
        let asked = Mutex<[ProcessingRequest]>([])
        try await ProcessorScene.run("request_attributes: [ request.path ]") { request in
            asked.withLock { $0.append(request) }
            if case .requestHeaders? = request.request {
                return Self.answer(
                    request, head: Self.common(Self.set(("x-in", "1"), (":path", "/changed"), remove: ["x-secret"])))
            }
            return Self.answer(
                request, head: Self.common(Self.set(("x-out", "2"), (":status", "201"), remove: ["x-up"])))
        } _: { scene async throws in
            let response = try await scene.client.get("/path", "X-Secret: s\r\n")
            #expect(response.status == 201)
            #expect(response.field("x-out") == "2")
            #expect(response.field("x-up") == nil)
            #expect(response.body.hasPrefix("GET /changed HTTP/1.1"))
            #expect(response.body.contains("x-in: 1"))
            #expect(!response.body.contains("secret"))
            let first = asked.withLock { $0.first }
            #expect(first?.attributes["envoy.filters.http.ext_proc"]?["request.path"]?.string == "/path")
            if case .requestHeaders(let head)? = first?.request {
                #expect(head.endOfStream)
                #expect(
                    head.headers?.headers.contains { $0.key == ":path" && $0.rawValue == Array("/path".utf8) } ?? false)
            } else {
                Issue.record("the first message is no head")
            }
            #expect(try await scene.stat("http.ingress.ext_proc.streams_started") == 1)
            #expect(try await scene.stat("http.ingress.ext_proc.stream_msgs_sent") == 2)
            #expect(try await scene.stat("http.ingress.ext_proc.stream_msgs_received") == 2)
        }
    }

    @Test("a buffered body is sent whole, and replaced with its length")
    func buffered() async throws {
        try await ProcessorScene.run(
            "processing_mode: { request_body_mode: BUFFERED, response_body_mode: BUFFERED }",
            answer: { request in
                switch request.request {
                case .requestBody(let body):
                    #expect(body.body == Array("hello world".utf8))
                    #expect(body.endOfStream)
                    return Self.answer(request, body: Self.common(Self.set(("x-late", "1")), body: Array("bye".utf8)))
                case .responseBody(let body):
                    return Self.answer(request, body: Self.common(nil, body: body.body + Array("!".utf8)))
                default: return Self.answer(request)
                }
            }
        ) { scene async throws in
            try await scene.client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello ")
            try await scene.client.write("world")
            let response = try await scene.client.response()
            #expect(response.status == 200)
            #expect(response.body.contains("x-late: 1"))
            #expect(response.body.contains("content-length: 3"))
            #expect(response.body.hasSuffix("\r\n\r\nbye!"))
            let again = try await scene.client.get("/")
            #expect(again.body.hasSuffix("!"))
        }
    }

    @Test("a streamed body goes on piece by piece, changed, in chunks")
    func streamed() async throws {
        try await ProcessorScene.run(
            "processing_mode: { request_body_mode: STREAMED, response_body_mode: STREAMED }",
            answer: { request in
                switch request.request {
                case .requestBody(let body):
                    return Self.answer(request, body: Self.common(nil, body: body.body.map { $0 &- 32 }))
                default: return Self.answer(request)
                }
            }
        ) { scene async throws in
            try await scene.client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
            try await scene.client.write("def")
            let response = try await scene.client.response()
            #expect(response.status == 200)
            #expect(response.body.contains("transfer-encoding: chunked"))
            #expect(response.body.hasSuffix("ABCDEF"))
            #expect(response.field("content-length") == nil)
        }
    }

    private static func isResponseHead(_ request: ProcessingRequest) -> Bool {
        if case .responseHeaders? = request.request { true } else { false }
    }

    @Test("an observer is told heads and bodies, and neither its answers nor its end change anything")
    func observer() async throws {
        for answers in [true, false] {
            let asked = Mutex<[ProcessingRequest]>([])
            try await ProcessorScene.run(
                "observability_mode: true, processing_mode: { request_body_mode: STREAMED, response_body_mode: BUFFERED }",
                answer: { request in
                    asked.withLock { $0.append(request) }
                    guard answers else { return .end(13) }
                    return Self.answer(request, head: Self.common(Self.set(("x-in", "1"))))
                }
            ) { scene async throws in
                try await scene.client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
                try await scene.client.write("def")
                let response = try await scene.client.response()
                #expect(response.status == 200)
                #expect(response.body.contains("content-length: 6"))
                #expect(response.body.hasSuffix("abcdef"))
                #expect(!response.body.contains("x-in"))
                func told() -> [ProcessingRequest] { asked.withLock { $0 } }
                if answers {
                    // Two heads, and the body of the request in one or more pieces: a collected body is not shown.
                    try await until { told().contains(where: Self.isResponseHead) }
                    let body = told().flatMap { request -> [UInt8] in
                        if case .requestBody(let body)? = request.request { body.body } else { [] }
                    }
                    #expect(body == Array("abcdef".utf8))
                    #expect(told().count(where: Self.isResponseHead) == 1)
                    #expect(told().last.map(Self.isResponseHead) ?? false)
                }
                #expect(told().allSatisfy { $0.observabilityMode })
                #expect(try await scene.stat("http.ingress.ext_proc.spurious_msgs_received") == 0)
                #expect(try await scene.stat("http.ingress.ext_proc.streams_closed") == 1)
            }
        }
    }

    @Test("an immediate response is the answer, before or after the upstream's")
    func immediate() async throws {
        for isLate in [false, true] {
            try await ProcessorScene.run(
                "",
                answer: { request in
                    if isLate, case .requestHeaders? = request.request { return Self.answer(request) }
                    var immediate = ImmediateResponse()
                    var status = HttpStatus()
                    status.code = .forbidden
                    immediate.status = status
                    immediate.body = Array("no".utf8)
                    immediate.headers = Self.set(("x-why", "because"))
                    var response = ProcessingResponse()
                    response.response = .immediateResponse(immediate)
                    return .message(response)
                }
            ) { scene async throws in
                let response = try await scene.client.get("/")
                #expect(response.status == 403)
                #expect(response.body == "no")
                #expect(response.field("x-why") == "because")
                #expect(scene.upstream.requests == (isLate ? 1 : 0))
                #expect(try await scene.stat("http.ingress.ext_proc.immediate_responses_sent") == 1)
            }
        }
    }

    @Test(
        "a processor that fails, hangs or answers what was not asked is 500 or 504, and passes with failure_mode_allow")
    func failure() async throws {
        try await ProcessorScene.run("", answer: { _ in .end(14) }) { scene async throws in
            #expect(try await scene.client.get("/").status == 500)
            #expect(try await scene.stat("http.ingress.ext_proc.streams_failed") == 1)
        }
        try await ProcessorScene.run("failure_mode_allow: true", answer: { _ in .end(14) }) { scene async throws in
            #expect(try await scene.client.get("/").status == 200)
            #expect(try await scene.stat("http.ingress.ext_proc.failure_mode_allowed") == 1)
        }
        try await ProcessorScene.run(
            "",
            answer: { request in
                var response = ProcessingResponse()
                response.response = .responseBody(ExtProcBodyResponse())
                return .message(response)
            }
        ) { scene async throws in
            #expect(try await scene.client.get("/").status == 500)
            #expect(try await scene.stat("http.ingress.ext_proc.spurious_msgs_received") == 1)
        }
    }

    @Test("a processor that ends its stream lets everything pass from there on")
    func ended() async throws {
        try await ProcessorScene.run("", answer: { _ in .end(0) }) { scene async throws in
            #expect(try await scene.client.get("/").status == 200)
            #expect(try await scene.stat("http.ingress.ext_proc.streams_closed") == 1)
        }
    }

    @Test("a mode that the processor asks for counts from there on, where that is allowed")
    func override() async throws {
        try await ProcessorScene.run(
            "allow_mode_override: true",
            answer: { request in
                if case .requestHeaders? = request.request,
                    case .message(var response) = Self.answer(request)
                {
                    var mode = ProcessingMode()
                    mode.requestBodyMode = .buffered
                    mode.responseHeaderMode = .skip
                    response.modeOverride = mode
                    return .message(response)
                }
                return Self.answer(request, body: Self.common(nil, body: Array("other".utf8)))
            }
        ) { scene async throws in
            try await scene.client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
            let response = try await scene.client.response()
            #expect(response.body.hasSuffix("other"))
            #expect(try await scene.stat("http.ingress.ext_proc.stream_msgs_sent") == 2)
        }
    }

    @Test("CONTINUE_AND_REPLACE puts another body in the place of the one that comes")
    func replaced() async throws {
        try await ProcessorScene.run(
            "",
            answer: { request in
                if case .requestHeaders? = request.request {
                    return Self.answer(request, head: Self.common(nil, body: Array("instead".utf8), replaces: true))
                }
                return Self.answer(request)
            }
        ) { scene async throws in
            try await scene.client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234")
            try await scene.client.write("56789")
            let response = try await scene.client.response()
            #expect(response.body.contains("transfer-encoding: chunked"))
            #expect(response.body.hasSuffix("\r\n\r\ninstead"))
        }
    }

    @Test("what the rules forbid is left out and counted")
    func rules() async throws {
        try await ProcessorScene.run(
            "mutation_rules: { disallow_expression: { regex: \"x-no.*\" } }",
            answer: { request in
                Self.answer(request, head: Self.common(Self.set(("x-no", "1"), ("host", "evil"), ("x-yes", "1"))))
            }
        ) { scene async throws in
            let response = try await scene.client.get("/")
            #expect(response.body.contains("x-yes: 1"))
            #expect(!response.body.contains("x-no"))
            #expect(!response.body.contains("evil"))
            #expect(try await scene.stat("http.ingress.ext_proc.rejected_header_mutations") == 4)
        }
    }

    @Test("a body that is too large to be collected whole is sent as far as it was, and the rest follows")
    func partial() async throws {
        let sent = Mutex<[(Int, Bool)]>([])
        try await ProcessorScene.run(
            "processing_mode: { request_body_mode: BUFFERED_PARTIAL, response_header_mode: SKIP }",
            reply: { head, body in ScriptedUpstream.ok("\(body.utf8.count) \(body.prefix(3))") },
            answer: { request in
                guard case .requestBody(let body)? = request.request else { return Self.answer(request) }
                sent.withLock { $0.append((body.body.count, body.endOfStream)) }
                return Self.answer(request, body: Self.common(nil, body: Array("new".utf8)))
            }
        ) { scene async throws in
            let size = 700_000
            try await scene.client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(size)\r\n\r\n")
            try await scene.client.write(String(repeating: "x", count: size))
            let response = try await scene.client.response()
            let first = sent.withLock { $0.first }
            #expect(first?.1 == false)
            #expect(first?.0 ?? 0 >= 524_288)
            #expect(response.body == "\(size - (first?.0 ?? 0) + 3) new")
            #expect(sent.withLock { $0.count } == 1)
        }
    }

    @Test("trailers are sent where that is asked for, and changed")
    func trailers() async throws {
        try await ProcessorScene.run(
            "processing_mode: { response_trailer_mode: SEND, response_body_mode: BUFFERED }",
            reply: { _, _ in
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-end\r\n\r\n3\r\nabc\r\n0\r\nx-end: 1\r\n\r\n"
            },
            answer: { request in
                if case .responseBody(let body)? = request.request { #expect(!body.endOfStream) }
                return Self.answer(request, trailers: Self.set(("x-end", "2"), ("x-more", "3")))
            }
        ) { scene async throws in
            let end = try await HTTP2End.connect(to: scene.proxy.address, on: scene.loop)
            defer { end.close() }
            let exchange = try await end.get("/")
            #expect(exchange.text == "abc")
            #expect(exchange.trailers["x-end"] == "2")
            #expect(exchange.trailers["x-more"] == "3")
        }
    }

    @Test("a processor may ask for more time once a message, up to the maximum")
    func moreTime() async throws {
        try await ProcessorScene.run(
            "max_message_timeout: 10s",
            answer: { request in
                var response = ProcessingResponse()
                response.overrideMessageTimeout = .milliseconds(30)
                return .message(response)
            }
        ) { scene async throws in
            #expect(try await scene.client.get("/").status == 504)
            #expect(try await scene.stat("http.ingress.ext_proc.override_message_timeout_received") == 1)
            #expect(try await scene.stat("http.ingress.ext_proc.message_timeouts") == 1)
        }
    }

    @Test("a client that goes away ends the stream to the processor")
    func cancelled() async throws {
        try await ProcessorScene.run("", answer: { _ in .silence }) { scene async throws in
            try await scene.client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            try await until { try await scene.stat("http.ingress.ext_proc.stream_msgs_sent") == 1 }
            scene.client.close()
            try await until { try await scene.stat("cluster.service.upstream_rq_active") == 0 }
            #expect(try await scene.stat("http.ingress.ext_proc.streams_closed") == 1)
        }
    }

    @Test("the modes of a message: what is not set, and what there is not")
    func modes() throws {
        #expect(try ExtProcMode(compiling: nil, at: "") == .standard)
        var message = ProcessingMode()
        message.requestHeaderMode = .skip
        message.responseBodyMode = .streamed
        let mode = try ExtProcMode(compiling: message, at: "")
        #expect(!mode.request.sendsHead && mode.response.sendsHead && mode.response.body == .streamed)
        message.requestBodyMode = .fullDuplexStreamed
        #expect(throws: (any Error).self) { try ExtProcMode(compiling: message, at: "") }
        #expect(mode.overridden(by: message) == nil)
    }
}
