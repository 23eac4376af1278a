import Testing

@testable import HTTP

@Suite("Prepared fields and methods by number")
struct PreparedFieldTests {
    @Test("a prepared field reads and is written like one that was appended")
    func sameAsAppended() throws {
        var prepared = ResponseHead()
        prepared.headers.append(try PreparedField(.server, Array("  skein ".utf8).span.bytes))
        prepared.headers.append(PreparedField(.age, number: 120))
        var appended = ResponseHead()
        try appended.headers.append(.server, "skein")
        appended.headers.append(.age, number: 120)
        #expect(prepared.headers[.server] == "skein")
        #expect(prepared.headers["age"] == "120")
        var (one, other): ([UInt8], [UInt8]) = ([], [])
        HTTP1Serializer.append(prepared, to: &one)
        HTTP1Serializer.append(appended, to: &other)
        #expect(one == other)
    }

    @Test("what is found without a reference to a table is what the table finds")
    func parts() throws {
        var table = HeaderTable()
        #expect(table.parts.value(of: .age) == nil && table.parts.value(named: Array("x-a".utf8).span.bytes) == nil)
        try table.append("x-a", "one")
        try table.append("X-A", "two")
        try table.append("x-ab", "")
        table.append(.age, number: 7)
        try table.append(.via, "gone")
        table.remove(.via)
        func text(_ found: UnsafeRawBufferPointer?) -> String? { found.map { String(decoding: $0, as: UTF8.self) } }
        for name in ["x-a", "x-ab", "x-", "x-abc", "age", "via"] {
            #expect(text(table.parts.value(named: Array(name.utf8).span.bytes)) == table[name])
        }
        for id in HeaderID.allCases where id != .other {
            #expect(text(table.parts.value(of: id)) == table[id])
            #expect(table.parts.contains(id) == table.contains(id))
        }
        #expect(RequestHead.Parts.none.memory == nil)
    }

    @Test("a value with a control character is refused, not prepared")
    func refused() {
        #expect(throws: HTTPFieldError.self) { try PreparedField(.server, Array("a\r\nb: c".utf8).span.bytes) }
    }

    @Test("each method is known by its token alone: not in lower case, not with a byte more or less")
    func methods() {
        for method in HTTPMethod.allCases where method != .other {
            let token = Array("\(method.name)".utf8)
            #expect(HTTPMethod.of(token.span.bytes) == method)
            #expect(HTTPMethod.of(Array("\(method.name)".lowercased().utf8).span.bytes) == .other)
            #expect(HTTPMethod.of((token + [0]).span.bytes) == .other)
            #expect(HTTPMethod.of(([0] + token).span.bytes) == .other)
            #expect(HTTPMethod.of(Array(token.dropLast()).span.bytes) == .other)
        }
    }

    @Test("a UUID has its digits in groups of 8, 4, 4, 4 and 12")
    func uuid() {
        var headers = HeaderTable()
        headers.append(.xRequestId, uuid: (0x0123_4567_89AB_CDEF, 0xFEDC_BA98_7654_3210))
        #expect(headers[.xRequestId] == "01234567-89ab-cdef-fedc-ba9876543210")
    }

    @Test("names are found by the eight bytes that they begin with")
    func beginnings() throws {
        var headers = HeaderTable()
        #expect(!headers.hasName(beginningWith: "x-envoy-"))
        try headers.append("x-env", "1")
        try headers.append("my-x-envoy-y", "1")
        #expect(!headers.hasName(beginningWith: "x-envoy-"))
        try headers.append("X-Envoy-Y", "1")
        #expect(headers.hasName(beginningWith: "x-envoy-"))
    }
}
