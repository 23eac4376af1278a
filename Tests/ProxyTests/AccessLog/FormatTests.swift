import EnvoyAPI
import HTTP
import IO
import Serialization
import Testing
import Upstream

@testable import Proxy

/// A request as formats see it, without a proxy.
struct FakeContext: FormatContext {
    var info: StreamInfo
    var connectionInfo: ConnectionInfo
    var request = RequestHead()
    var response = HeaderTable()
    var trailers = HeaderTable()
    var protocolVersion: HTTPVersion? = .http11
    var isGRPC = false
    var grpcStatus: Int?
    var traceContext: TraceContext?

    init() {
        let start = MonotonicTime.now
        info = StreamInfo(started: start)
        info.startedWall = (1_795_239_167, 486_064_123)
        info.status = 200
        info.bytesSent = 3
        info.bytesReceived = 7
        info.firstUpstreamByteSent = start + .milliseconds(2)
        info.firstUpstreamByteReceived = start + .microseconds(3903)
        info.lastDownstreamByteSent = start + .milliseconds(5)
        info.upstreamHost = .ip(.v4(0x7F00_0001), port: 19910)
        info.upstreamCluster = "backend"
        info.details = "via_upstream"
        connectionInfo = ConnectionInfo(
            localAddress: .ip(.v4(0x7F00_0001), port: 80), remoteAddress: .ip(.v4(0x0A00_0001), port: 1234),
            directRemoteAddress: .ip(.v4(0x0A00_0002), port: 999), id: 42)
        request.setMethod(.get)
        set(":path", "/a/b?x=b%20c&z=1")
        set(":authority", "example.org")
    }

    mutating func set(_ name: String, _ value: String) {
        switch name {
        case ":path": try? request.setPath(Array(value.utf8).span.bytes)
        case ":authority": try? request.setAuthority(Array(value.utf8).span.bytes)
        default: try? request.headers.append(name, value)
        }
    }

    func readRequestFields<Result>(_ body: (borrowing RequestHeadView) -> Result) -> Result { request.read(body) }
    func appendResponseField(_ field: FormatField, to bytes: inout FormatLine) -> Bool {
        response.parts.append(field, to: &bytes)
    }
    func appendResponseTrailer(_ field: FormatField, to bytes: inout FormatLine) -> Bool {
        trailers.parts.append(field, to: &bytes)
    }
    func appendPath(isOriginal: Bool, to bytes: inout FormatLine) -> Bool {
        request.appendPath(to: &bytes)
        return true
    }
    func fieldBytes(_ part: FieldPart) -> Int? { part == .requestHead ? 209 : 0 }
}

@Suite("Formats")
struct FormatTests {
    private func text(_ format: String, _ context: FakeContext = FakeContext(), omits: Bool = false) throws -> String {
        var bytes: [UInt8] = []
        try SubstitutionFormat(text: format, path: "f", omitsEmptyValues: omits)
            .appendLine(context, FormatMoment(now: context.info.started + .milliseconds(9)), to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    private func json(_ format: JSON, _ context: FakeContext = FakeContext(), omits: Bool = false) throws -> String {
        var bytes: [UInt8] = []
        try SubstitutionFormat(json: format, path: "f", omitsEmptyValues: omits)
            .appendLine(context, FormatMoment(now: context.info.started), to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test(
        "each operator prints what Envoy prints",
        arguments: [
            ("%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL%", "GET /a/b?x=b%20c&z=1 HTTP/1.1"),
            ("%REQUEST_HEADER(:METHOD)%|%RESPONSE_HEADER(nope)%|%RESPONSE_TRAILER(nope)%", "GET|-|-"),
            ("%REQ(nope?:path):4%|%REQ(nope)%|%REQ(HOST)%", "/a/b|-|example.org"),
            ("%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%", "200 - -"),
            ("%DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION% %REQUEST_DURATION%", "5 3 1 -"),
            ("%COMMON_DURATION(DS_RX_BEG:US_RX_BEG:us)%", "3903"),
            ("%COMMON_DURATION(DS_RX_BEG:US_TX_END)%", "-"),
            ("%BYTES_RECEIVED% %BYTES_SENT%", "7 3"),
            ("%UPSTREAM_HOST% %UPSTREAM_REMOTE_PORT% %UPSTREAM_CLUSTER%", "127.0.0.1:19910 19910 backend"),
            ("%UPSTREAM_HOST_NAME_WITHOUT_PORT% %UPSTREAM_PROTOCOL%", "127.0.0.1 -"),
            (
                "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_PORT%",
                "10.0.0.1 10.0.0.2:999 80"
            ),
            ("%START_TIME%", "2026-11-21T05:32:47.486Z"),
            (
                "%START_TIME(%Y/%m/%dT%H:%M:%S%z %3f %6f %9f %s %a %b %j %e)%",
                "2026/11/21T05:32:47+0000 486 486064 486064123 1795239167 Sat Nov 325 21"
            ),
            ("%PATH(NQ)% %QUERY_PARAMS(ORIG)% %QUERY_PARAM(x)% %QUERY_PARAM(no)%", "/a/b x=b%20c&z=1 b c -"),
            ("%REQ_WITHOUT_QUERY(:path)%", "/a/b"),
            ("%CONNECTION_ID% %ACCESS_LOG_TYPE% %REQUEST_HEADERS_BYTES%", "42 DownstreamEnd 209"),
            ("%RESPONSE_CODE_DETAILS% %TRACE_ID% %ROUTE_NAME% %REQUESTED_SERVER_NAME%", "via_upstream - - -"),
            ("100%% %GRPC_STATUS%", "100% -"),
            ("%DOWNSTREAM_PEER_URI_SAN% %UPSTREAM_TLS_VERSION% %DOWNSTREAM_PEER_CERT_V_START(%Y)%", "- - -"),
        ])
    func operators(format: String, expected: String) throws {
        #expect(try text(format) == expected)
    }

    @Test("every operator that header formats may use is known here")
    func operatorNames() throws {
        for name in HeaderTemplate.operators {
            let known = ["", "(x)", "(DYNAMIC:x)", "(DS_RX_BEG:DS_TX_END)", "(%Y)", "(NUMBER)", "(ORIG)", "(NQ)"]
                .contains {
                    (try? SubstitutionFormat(text: "%\(name)\($0)%", path: "f")) != nil
                }
            #expect(known, "\(name)")
        }
    }

    @Test(
        "what cannot be understood is refused with its path and name",
        arguments: [
            ("%NOPE%", "unknown command operator %NOPE% (a percent sign is written %%)"),
            ("%REQ%", "%REQ% needs a header name, or two: %REQ(x-id?x-other)%"),
            ("%REQ(a?b?c)%", "%REQ% needs a header name, or two: %REQ(x-id?x-other)%"),
            ("%REQ(a", "%REQ( has no closing parenthesis"),
            ("%REQ(a):x%", "%REQ: has no length after the colon"),
            ("%DURATION", "%DURATION has no closing percent sign"),
            ("%DURATION(x)%", "%DURATION% takes no argument"),
            ("%START_TIME(%Q)%", "%START_TIME(…)%: %Q is no conversion that is supported"),
            ("%GRPC_STATUS(x)%", "%GRPC_STATUS%: the style is CAMEL_STRING, SNAKE_STRING or NUMBER"),
            ("50% of", "a command operator is needed after % (a percent sign is written %%)"),
        ])
    func refusals(format: String, reason: String) {
        #expect(throws: ConfigurationError(at: "f", reason)) { try SubstitutionFormat(text: format, path: "f") }
    }

    @Test("JSON keeps the kinds of values: numbers are numbers, what is missing is null, texts have a dash")
    func kinds() throws {
        let format: JSON = [
            "code": "%RESPONSE_CODE%", "dur": "%DURATION%", "flags": "%RESPONSE_FLAGS%", "miss": "%REQ(nope)%",
            "mix": "x-%RESPONSE_CODE%", "mixmiss": "a%REQ(nope)%b", "n": 5, "b": true, "body": "%LOCAL_REPLY_BODY%",
            "nested": ["a": "%BYTES_SENT%", "b": ["%PROTOCOL%", 3, true]], "md": "%DYNAMIC_METADATA(ns:k)%",
        ]
        var context = FakeContext()
        #expect(
            try json(format, context)
                == #"{"b":true,"body":"","code":200,"dur":5,"flags":"-","md":null,"miss":null,"mix":"x-200","mixmiss":"a-b","n":5,"nested":{"a":3,"b":["HTTP/1.1",3,true]}}"#
                + "\n")
        context.info.metadata = ["ns": ["k": ["deep": [1, "two"]]]]
        #expect(try json(["md": "%DYNAMIC_METADATA(ns:k)%"], context) == #"{"md":{"deep":[1,"two"]}}"# + "\n")
        #expect(try json(["md": "%DYNAMIC_METADATA(ns:k:deep)%"], context) == #"{"md":[1,"two"]}"# + "\n")
        #expect(try text("%DYNAMIC_METADATA(ns:k)%", context) == #"{"deep":[1,"two"]}"#)
    }

    @Test("omit_empty_values leaves members out, and prints nothing in texts")
    func omission() throws {
        #expect(
            try json(["a": "%REQ(nope)%", "b": ["c": "%REQ(nope)%"], "d": "%RESPONSE_CODE%"], omits: true)
                == #"{"d":200}"# + "\n")
        #expect(try text("[%REQ(nope)%]", omits: true) == "[]")
    }

    @Test("response flags print in Envoy's order, short and long")
    func flags() throws {
        var context = FakeContext()
        context.info.flags = [.upstreamRetryLimitExceeded, .upstreamConnectionFailure]
        #expect(
            try text("%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%", context)
                == "URX,UF UpstreamRetryLimitExceeded,UpstreamConnectionFailure")
        // A TCP connection has failed before the tries are over.
        #expect(context.info.flags.text == "UF,URX")
        for (index, entry) in ResponseFlags.table.enumerated() {
            #expect(ResponseFlags(letters: "\(entry.letters)")?.rawValue == 1 << UInt32(index))
        }
        #expect(ResponseFlags(letters: "XX") == nil)
        #expect(Set(ResponseFlags.table.map { "\($0.letters)" }).count == 30)
    }

    @Test("gRPC status in its three styles")
    func grpcStatus() throws {
        var context = FakeContext()
        context.isGRPC = true
        context.grpcStatus = 8
        #expect(
            try text("%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS(NUMBER)% %GRPC_STATUS_NUMBER%", context)
                == "ResourceExhausted RESOURCE_EXHAUSTED 8 8")
        #expect(try json(["n": "%GRPC_STATUS(NUMBER)%"], context) == "{\"n\":8}\n")
    }

    @Test("ATK-19 whatever peers send, every JSON line parses and text lines stay one line")
    func injection() throws {
        var generator = SplitMix64(seed: 7)
        let nasty: [[UInt8]] = [
            [0x22], [0x5C], [0x22, 0x2C, 0x22, 0x78, 0x22, 0x3A], [0x0A], [0x0D, 0x0A], [0x00], [0x1B], [0x7F],
            [0xFF, 0xFE],
            [0xC3], [0xE2, 0x80, 0xA8], [0xF0, 0x9F, 0x98, 0x80], Array("\",\"admin\":true,\"a\":\"".utf8),
        ]
        for _ in 0..<2000 {
            var value: [UInt8] = []
            for _ in 0..<(generator.next() % 12) {
                value += nasty[Int(generator.next() % UInt64(nasty.count))]
                value.append(UInt8(truncatingIfNeeded: generator.next()))
            }
            var context = FakeContext()
            // Past any parser: names come from TLS, details from peers' texts.
            context.connectionInfo.requestedServerName = String(decoding: value, as: UTF8.self)
            context.info.upstreamTransportFailure = String(decoding: value, as: UTF8.self)
            context.info.metadata = ["n": ["k": .string(String(decoding: value, as: UTF8.self))]]
            try? context.request.headers.append("x-evil", String(decoding: value, as: UTF8.self))
            let line = try json(
                [
                    "s": "%REQUESTED_SERVER_NAME%", "m": "a%UPSTREAM_TRANSPORT_FAILURE_REASON%b", "h": "%REQ(x-evil)%",
                    "d": "%DYNAMIC_METADATA(n:k)%",
                ], context)
            let parsed = try JSON.parse(line)
            #expect(parsed["admin"] == nil)
            #expect(parsed.object?.count == 4)
            #expect(line.utf8.count { $0 == 0x0A } == 1)
            let plain = try text("\"%REQUESTED_SERVER_NAME%\" \"%REQ(x-evil)%\"\n", context)
            #expect(plain.utf8.count { $0 == 0x0A } == 1)
            #expect(plain.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F || $0 == 0x0A })
        }
    }

    @Test("ATK-19 one value cannot make a line of any length")
    func bounded() throws {
        var context = FakeContext()
        context.connectionInfo.requestedServerName = String(repeating: "x", count: 1_000_000)
        #expect(try text("%REQUESTED_SERVER_NAME%", context).utf8.count == Limits.formatValueBytes)
    }
}

@Suite("Access log filters")
struct AccessLogFilterTests {
    private func passes(_ json: JSON, _ change: (inout FakeContext) -> Void = { _ in }) throws -> Bool {
        var context = FakeContext()
        change(&context)
        let rule = try AccessLogFilterRule(compiling: AccessLogFilter(json: json), at: "filter")
        return rule.passes(context, FormatMoment(now: context.info.started)) { 1 << 62 }
    }

    private func code(_ op: String, _ value: Int) -> JSON {
        [
            "status_code_filter": [
                "comparison": [
                    "op": .string(op), "value": ["default_value": .integer(Int64(value)), "runtime_key": "k"],
                ]
            ]
        ]
    }

    @Test("status codes and durations compare")
    func numbers() throws {
        #expect(try passes(code("EQ", 200)))
        #expect(try !passes(code("GE", 201)))
        #expect(try passes(code("LE", 200)))
        #expect(try !passes(code("NE", 200)))
        let slow: JSON = [
            "duration_filter": ["comparison": ["op": "GE", "value": ["default_value": 5, "runtime_key": "k"]]]
        ]
        #expect(try passes(slow))
        #expect(try !passes(slow) { $0.info.lastDownstreamByteSent = $0.info.started + .milliseconds(4) })
    }

    @Test("and, or, headers, flags, log types")
    func combinations() throws {
        let header: JSON = ["header_filter": ["header": ["name": "x-debug", "present_match": true]]]
        #expect(try !passes(header))
        #expect(try passes(header) { $0.set("x-debug", "1") })
        #expect(try passes(["or_filter": ["filters": [code("EQ", 404), code("EQ", 200)]]]))
        #expect(try !passes(["and_filter": ["filters": [code("EQ", 404), code("EQ", 200)]]]))
        #expect(try !passes(["response_flag_filter": [:]]))
        #expect(try passes(["response_flag_filter": ["flags": ["NR", "UH"]]]) { $0.info.flags = [.noRouteFound] })
        #expect(try !passes(["response_flag_filter": ["flags": ["UH"]]]) { $0.info.flags = [.noRouteFound] })
        #expect(try passes(["log_type_filter": ["types": ["DownstreamEnd"]]]))
        #expect(try !passes(["log_type_filter": ["types": ["DownstreamEnd"], "exclude": true]]))
        #expect(try passes(["not_health_check_filter": [:]]))
        #expect(try !passes(["not_health_check_filter": [:]]) { $0.info.isHealthCheck = true })
        #expect(try !passes(["traceable_filter": [:]]))
    }

    @Test("samples, gRPC status, metadata")
    func values() throws {
        #expect(try passes(["runtime_filter": ["runtime_key": "k", "percent_sampled": ["numerator": 26]]]))
        #expect(try !passes(["runtime_filter": ["runtime_key": "k", "percent_sampled": ["numerator": 25]]]))
        #expect(try passes(["grpc_status_filter": ["statuses": ["UNAVAILABLE"]]]) { $0.grpcStatus = 14 })
        #expect(
            try !passes(["grpc_status_filter": ["statuses": ["UNAVAILABLE"], "exclude": true]]) { $0.grpcStatus = 14 })
        let metadata: JSON = [
            "metadata_filter": [
                "matcher": ["filter": "ns", "path": [["key": "k"]], "value": ["string_match": ["exact": "v"]]],
                "match_if_key_not_found": false,
            ]
        ]
        #expect(try !passes(metadata))
        #expect(try passes(metadata) { $0.info.metadata = ["ns": ["k": "v"]] })
        #expect(try !passes(metadata) { $0.info.metadata = ["ns": ["k": "w"]] })
    }

    @Test("a filter that cannot be meant is refused with its path")
    func refusals() throws {
        #expect(throws: ConfigurationError(at: "f.response_flag_filter.flags[0]", "\"XX\" is no response flag")) {
            try AccessLogFilterRule(
                compiling: AccessLogFilter(json: ["response_flag_filter": ["flags": ["XX"]]]), at: "f")
        }
        #expect(throws: ConfigurationError.self) { try AccessLogFilterRule(compiling: AccessLogFilter(), at: "f") }
    }
}
