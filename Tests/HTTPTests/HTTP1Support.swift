import HTTP

/// A parsed message written down as text, for comparing.
struct Recorded: Equatable, CustomStringConvertible {
    var start = ""
    var fields: [String] = []
    var body = ""
    var trailers: [String] = []
    var flags = ""

    var description: String { "\(start) \(fields) body=\(body) trailers=\(trailers) \(flags)" }
}

func text(_ span: RawSpan) -> String { span.withUnsafeBytes { String(decoding: $0, as: UTF8.self) } }

func fields(_ table: HeaderTable) -> [String] {
    (0..<table.count).map { "\(table.nameText(at: $0)): \(table.valueText(at: $0))" }
}

/// Parses everything, cut into pieces at the given offsets.
func parseRequests(_ bytes: [UInt8], cuts: [Int], limits: HTTP1Limits = HTTP1Limits()) throws(HTTP1Error) -> [Recorded]
{
    var parser = HTTP1RequestParser(limits: limits)
    var messages: [Recorded] = []
    var low = 0
    for high in cuts + [bytes.count] {
        let piece = Array(bytes[low..<high])
        low = high
        var offset = 0
        loop: while true {
            switch try parser.next(piece.span.bytes, &offset) {
            case .needMore: break loop
            case .head:
                let head = parser.head
                var message = Recorded()
                message.start =
                    "\(text(head.methodName)) [\(text(head.scheme))] [\(head.authorityText)] \(head.pathText)"
                message.fields = fields(head.headers)
                message.flags =
                    "\(head.body)\(head.isKeepAlive ? " keep" : "")\(head.expectsContinue ? " expect" : "")\(head.isUpgrade ? " upgrade" : "")"
                messages.append(message)
            case .body(let range): messages[messages.count - 1].body += text(piece.span.bytes.extracting(range))
            case .end: messages[messages.count - 1].trailers = fields(parser.trailers)
            }
        }
        if offset != piece.count { messages.append(Recorded(start: "unconsumed bytes")) }
    }
    if try parser.inputEnded() != nil { messages.append(Recorded(start: "open tunnel")) }
    return messages
}

func parseResponses(
    _ bytes: [UInt8], to methods: [HTTPMethod], cuts: [Int], limits: HTTP1Limits = HTTP1Limits()
) throws(HTTP1Error) -> [Recorded] {
    var parser = HTTP1ResponseParser(limits: limits)
    var messages: [Recorded] = []
    var waiting = methods
    var low = 0
    for high in cuts + [bytes.count] {
        let piece = Array(bytes[low..<high])
        low = high
        var offset = 0
        loop: while true {
            if parser.isIdle, !waiting.isEmpty { parser.expectResponse(to: waiting.removeFirst()) }
            switch try parser.next(piece.span.bytes, &offset) {
            case .needMore: break loop
            case .head:
                let head = parser.head
                messages.append(
                    Recorded(
                        start: "\(head.status)", fields: fields(head.headers),
                        flags: "\(head.body)\(head.isKeepAlive ? " keep" : "")"))
            case .body(let range): messages[messages.count - 1].body += text(piece.span.bytes.extracting(range))
            case .end: messages[messages.count - 1].trailers = fields(parser.trailers)
            }
        }
    }
    _ = try parser.inputEnded()
    return messages
}

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
