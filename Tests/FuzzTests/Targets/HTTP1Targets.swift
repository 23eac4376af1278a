import HTTP

/// What a parser said about some bytes: each message, and how it ended.
private struct Heard: Equatable {
    var messages: [String] = []
    var failure: HTTP1Error?
    /// A promise that did not hold; beside the messages, because those have text of the input.
    var broken: String?
    var isTunnel = false
}

private func text(_ span: RawSpan) -> String { span.withUnsafeBytes { Corpus.escaped([UInt8]($0)) } }

private func fields(_ table: HeaderTable) -> [String] {
    (0..<table.count).map { "\(table.nameText(at: $0)): \(table.valueText(at: $0))" }
}

extension FuzzTarget {
    private static let http1Words = [
        "\r\n", "\n", "\r", "\r\n\r\n", ":", " ", "\t", ";", ",", "chunked", "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: ", "Content-Length: 5\r\n", "Content-Length: ", "Connection: close\r\n",
        "Connection: upgrade\r\n", "Upgrade: h2c\r\n", "Expect: 100-continue\r\n", "Host: a\r\n", "\r\n x", "0\r\n\r\n",
        "5\r\nhello\r\n", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "CONNECT a:1 ",
        "http://", "[::1]", "HTTP/1.1 100 C\r\n\r\n", "HTTP/1.1 204 N\r\n", "304", "101", "\u{0}", "é",
    ]

    static let http1Requests = FuzzTarget("http1-requests", words: http1Words, smoke: 2500) { input in
        let whole = try requests(input, [])
        var random = FuzzRandom(of: input)
        let cut = try requests(input, random.cuts(of: input.count))
        try holds(whole == cut, "cut into pieces it says something else: \(whole) and \(cut)")
    }

    static let http1Responses = FuzzTarget("http1-responses", words: http1Words, smoke: 2500) { input in
        var random = FuzzRandom(of: input)
        let method: HTTPMethod = [.get, .head, .connect, .post][random.below(4)]
        let whole = try responses(input, [], method)
        let cut = try responses(input, random.cuts(of: input.count), method)
        try holds(whole == cut, "cut into pieces it says something else: \(whole) and \(cut)")
    }

    private static func requests(_ bytes: [UInt8], _ cuts: [Int]) throws -> Heard {
        var parser = HTTP1RequestParser()
        var heard = Heard()
        var low = 0
        do throws(HTTP1Error) {
            for high in cuts + [bytes.count] {
                let piece = Array(bytes[low..<high])
                low = high
                var offset = 0
                var event = HTTP1Event.needMore
                repeat {
                    event = try parser.next(piece.span.bytes, &offset)
                    switch event {
                    case .needMore: break
                    case .head: heard.messages.append(describe(parser.head))
                    case .body(let range): heard.messages.append(text(piece.span.bytes.extracting(range)))
                    case .end: heard.messages.append("end \(fields(parser.trailers))")
                    }
                    if event == .head { heard.broken = heard.broken ?? broken(parser.head) }
                } while event != .needMore
                if offset != piece.count { heard.broken = "bytes left over" }
            }
            heard.isTunnel = try parser.inputEnded() != nil
        } catch { heard.failure = error }
        return try checked(heard)
    }

    private static func responses(_ bytes: [UInt8], _ cuts: [Int], _ method: HTTPMethod) throws -> Heard {
        var parser = HTTP1ResponseParser()
        var heard = Heard()
        var low = 0
        do throws(HTTP1Error) {
            parser.expectResponse(to: method)
            for high in cuts + [bytes.count] {
                let piece = Array(bytes[low..<high])
                low = high
                var offset = 0
                var event = HTTP1Event.needMore
                repeat {
                    if parser.isIdle { parser.expectResponse(to: .get) }
                    event = try parser.next(piece.span.bytes, &offset)
                    switch event {
                    case .needMore: break
                    case .head:
                        heard.messages.append(
                            "\(parser.head.status) \(parser.head.body) \(fields(parser.head.headers))")
                        if parser.head.headers.count > HTTP1Limits.fieldsDefault {
                            heard.broken = "more fields than allowed"
                        }
                    case .body(let range): heard.messages.append(text(piece.span.bytes.extracting(range)))
                    case .end: heard.messages.append("end \(fields(parser.trailers))")
                    }
                } while event != .needMore
            }
            heard.isTunnel = try parser.inputEnded() != nil
        } catch { heard.failure = error }
        return try checked(heard)
    }

    /// Pieces of one body put together, so that only the bytes count; a promise that was broken is thrown.
    private static func checked(_ heard: Heard) throws -> Heard {
        if let broken = heard.broken { throw Violation(broken) }
        var result = heard
        result.messages = [heard.messages.joined()]
        return result
    }

    private static func describe(_ head: RequestHead) -> String {
        "\(text(head.methodName)) \(text(head.scheme)) \(head.authorityText) \(head.pathText) \(fields(head.headers)) "
            + "\(head.body) \(head.isKeepAlive) \(head.expectsContinue) \(head.isUpgrade)\n"
    }

    /// Which promise a head breaks: what was read can be written, and is then read as the same.
    private static func broken(_ head: RequestHead) -> String? {
        guard head.headers.count <= HTTP1Limits.fieldsDefault else { return "more fields than allowed" }
        guard head.method != .connect, !head.isUpgrade else { return nil }
        var head = head
        head.headers.removeHopByHopFields()
        var written: [UInt8] = []
        HTTP1Serializer.append(head, connection: .keepAlive, to: &written)
        var parser = HTTP1RequestParser()
        var offset = 0
        guard (try? parser.next(written.span.bytes, &offset)) == .head else {
            return "what is written is not read again"
        }
        let again = parser.head
        func plain(_ table: HeaderTable) -> [String] {
            fields(table).map { $0.lowercased() }.filter { field in
                !["host:", "content-length:", "transfer-encoding:", "connection:"].contains { field.hasPrefix($0) }
            }
        }
        let isSame =
            text(again.methodName) == text(head.methodName) && again.pathText == head.pathText
            && again.authorityText == head.authorityText && plain(again.headers) == plain(head.headers)
        return isSame ? nil : "written and read again it is another: \(describe(head)) \(describe(again))"
    }
}
