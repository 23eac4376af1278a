internal import Serialization
internal import Upstream

/// What one access-log line looks like: text with operators, or a JSON object of such texts.
struct AccessLogFormat: Sendable {
    /// A piece of a text.
    enum Piece: Sendable {
        case literal(String)
        case command(name: String, argument: String?, lengthMax: Int?)
    }

    /// A text, or an object whose leaves are texts.
    indirect enum Node: Sendable {
        case text([Piece])
        case object([(key: String, value: Node)])
        case constant(JSON)
    }

    let node: Node
    let isJSON: Bool

    /// Envoy's default format.
    static let standard =
        "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% "
        + "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
        + "\"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" "
        + "\"%UPSTREAM_HOST%\"\n"

    init(text: String, path: String) throws(ConfigurationError) {
        node = .text(try Self.pieces(text, path))
        isJSON = false
    }

    init(json: JSON, path: String) throws(ConfigurationError) {
        node = try Self.node(json, path)
        isJSON = true
    }

    private static func node(_ json: JSON, _ path: String) throws(ConfigurationError) -> Node {
        switch json {
        case .string(let text): return .text(try pieces(text, path))
        case .object(let members):
            var nodes: [(key: String, value: Node)] = []
            for (key, value) in members.sorted(by: { $0.key < $1.key }) {
                nodes.append((key, try node(value, "\(path).\(key)")))
            }
            return .object(nodes)
        default: return .constant(json)
        }
    }

    private static func pieces(_ format: String, _ path: String) throws(ConfigurationError) -> [Piece] {
        var pieces: [Piece] = []
        var literal: [UInt8] = []
        let bytes = Array(format.utf8)
        var index = 0
        while index < bytes.count {
            guard bytes[index] == UInt8(ascii: "%") else {
                literal.append(bytes[index])
                index += 1
                continue
            }
            if index + 1 < bytes.count, bytes[index + 1] == UInt8(ascii: "%") {
                literal.append(UInt8(ascii: "%"))
                index += 2
                continue
            }
            if !literal.isEmpty { pieces.append(.literal(String(decoding: literal, as: UTF8.self))) }
            literal = []
            index += 1
            let nameStart = index
            while index < bytes.count, isNameByte(bytes[index]) { index += 1 }
            let name = String(decoding: bytes[nameStart..<index], as: UTF8.self)
            guard FormatOperator.names.contains(name) else {
                throw ConfigurationError(at: path, "unknown command operator %\(name)% (a percent sign is written %%)")
            }
            var argument: String?
            if index < bytes.count, bytes[index] == UInt8(ascii: "(") {
                guard let close = bytes[index...].firstIndex(of: UInt8(ascii: ")")) else {
                    throw ConfigurationError(at: path, "%\(name)( has no closing parenthesis")
                }
                argument = String(decoding: bytes[(index + 1)..<close], as: UTF8.self)
                index = close + 1
            }
            var lengthMax: Int?
            if index < bytes.count, bytes[index] == UInt8(ascii: ":") {
                let digits = bytes[(index + 1)...].prefix { $0 &- 48 < 10 }
                lengthMax = Int(String(decoding: digits, as: UTF8.self))
                index = digits.endIndex
            }
            guard index < bytes.count, bytes[index] == UInt8(ascii: "%") else {
                throw ConfigurationError(at: path, "%\(name) has no closing percent sign")
            }
            index += 1
            pieces.append(.command(name: name, argument: argument, lengthMax: lengthMax))
        }
        if !literal.isEmpty { pieces.append(.literal(String(decoding: literal, as: UTF8.self))) }
        return pieces
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        (byte &- 65 < 26) || byte == UInt8(ascii: "_") || (byte &- 48 < 10)
    }

    /// The line, with its end.
    func line(_ value: (_ name: String, _ argument: String?) -> String?) -> String {
        if isJSON { return render(node, value).text + "\n" }
        guard case .text(let pieces) = node else { return "" }
        return text(pieces, escaped: true, value)
    }

    private func render(_ node: Node, _ value: (String, String?) -> String?) -> JSON {
        switch node {
        case .constant(let json): return json
        case .object(let members):
            var object: [String: JSON] = [:]
            for (key, member) in members { object[key] = render(member, value) }
            return .object(object)
        case .text(let pieces):
            // One operator alone keeps its kind: numbers stay numbers, what is absent is null (Envoy).
            if pieces.count == 1, case .command(let name, let argument, let lengthMax) = pieces[0] {
                guard let text = value(name, argument) else { return .null }
                if Self.numeric.contains(name), let number = Int64(text) { return .integer(number) }
                return .string(lengthMax.map { String(text.prefix($0)) } ?? text)
            }
            return .string(text(pieces, escaped: false, value))
        }
    }

    private static let numeric: Set<String> = [
        "RESPONSE_CODE", "BYTES_RECEIVED", "BYTES_SENT", "DURATION", "REQUEST_DURATION", "RESPONSE_DURATION",
        "RESPONSE_TX_DURATION", "CONNECTION_ID", "UPSTREAM_REQUEST_ATTEMPT_COUNT",
    ]

    private func text(_ pieces: [Piece], escaped: Bool, _ value: (String, String?) -> String?) -> String {
        var line = ""
        for piece in pieces {
            switch piece {
            case .literal(let literal): line += literal
            case .command(let name, let argument, let lengthMax):
                var text = value(name, argument) ?? "-"
                if let lengthMax { text = String(text.prefix(lengthMax)) }
                line += escaped ? Self.escape(text) : text
            }
        }
        return line
    }

    /// What a peer sent cannot end the line or forge a field (ATK-19).
    private static func escape(_ text: String) -> String {
        guard text.utf8.contains(where: { $0 < 0x20 || $0 == 0x22 || $0 == 0x5C || $0 == 0x7F }) else { return text }
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": escaped += "\\\""
            case "\\": escaped += "\\\\"
            case _ where scalar.value < 0x20 || scalar.value == 0x7F:
                escaped += "\\x" + HTTPClock.pad(0, 0) + String(scalar.value, radix: 16)
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}
