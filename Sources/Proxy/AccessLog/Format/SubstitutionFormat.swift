internal import Serialization
internal import Upstream

/// A format with command operators, compiled: a text, or a JSON value whose strings are such texts.
///
/// Asked with a context it appends bytes; nothing else happens. What peers sent is escaped by the structure that it stands
/// in: no value can end a line, a JSON string or a field in quotes (ATK-19).
struct SubstitutionFormat: Sendable {
    /// A piece of a text.
    enum Piece: Sendable {
        case literal([UInt8])
        case command(FormatOperator, lengthMax: Int?)
    }

    /// A JSON value.
    indirect enum Node: Sendable {
        /// A string made of pieces.
        case text([Piece])
        /// One operator alone: it keeps its kind, and `null` stands for what is missing.
        case value(FormatOperator, lengthMax: Int?)
        /// Members with their keys as they are printed.
        case object([(key: [UInt8], value: Node)])
        case array([Node])
        case constant([UInt8])
    }

    private enum Form: Sendable {
        case text(TextFormat)
        case json(Node)
    }

    private let form: Form
    /// Missing values vanish from JSON objects, and are empty in texts.
    let omitsEmptyValues: Bool
    /// What `content-type` a body in this format has.
    var contentType: String

    var isJSON: Bool { if case .json = form { true } else { false } }

    /// Envoy's default format.
    static let standard =
        "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% "
        + "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
        + "\"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" "
        + "\"%UPSTREAM_HOST%\"\n"

    init(text: String, path: String, omitsEmptyValues: Bool = false) throws(ConfigurationError) {
        try self.init(bytes: Array(text.utf8), path: path, omitsEmptyValues: omitsEmptyValues)
    }

    /// What stands between the operators need not be text: a body may be a picture.
    init(bytes: [UInt8], path: String, omitsEmptyValues: Bool = false) throws(ConfigurationError) {
        form = .text(TextFormat(try Self.pieces(bytes, path)))
        self.omitsEmptyValues = omitsEmptyValues
        contentType = "text/plain"
    }

    init(json: JSON, path: String, omitsEmptyValues: Bool = false) throws(ConfigurationError) {
        form = .json(try Self.node(json, path))
        self.omitsEmptyValues = omitsEmptyValues
        contentType = "application/json"
    }

    // MARK: Compiling

    private static func node(_ json: JSON, _ path: String) throws(ConfigurationError) -> Node {
        switch json {
        case .string(let text):
            let pieces = try pieces(Array(text.utf8), path)
            if pieces.count == 1, case .command(let operation, let lengthMax) = pieces[0] {
                return .value(operation, lengthMax: lengthMax)
            }
            return .text(pieces)
        case .object(let members):
            var nodes: [(key: [UInt8], value: Node)] = []
            for (key, value) in members.sorted(by: { $0.key < $1.key }) {
                nodes.append((Array((JSON.quoted(key) + ":").utf8), try node(value, "\(path).\(key)")))
            }
            return .object(nodes)
        case .array(let elements):
            var nodes: [Node] = []
            for (index, element) in elements.enumerated() { nodes.append(try node(element, "\(path)[\(index)]")) }
            return .array(nodes)
        default: return .constant(json.bytes)
        }
    }

    static func pieces(_ bytes: [UInt8], _ path: String) throws(ConfigurationError) -> [Piece] {
        var pieces: [Piece] = []
        var literal: [UInt8] = []
        var index = 0
        func fail(_ reason: String) -> ConfigurationError { ConfigurationError(at: path, reason) }
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
            index += 1
            let nameStart = index
            while index < bytes.count, isNameByte(bytes[index]) { index += 1 }
            let name = String(decoding: bytes[nameStart..<index], as: UTF8.self)
            guard !name.isEmpty else {
                throw fail("a command operator is needed after % (a percent sign is written %%)")
            }
            var argument: String?
            if index < bytes.count, bytes[index] == UInt8(ascii: "(") {
                guard let close = CommandArgument.end(in: bytes, from: index) else {
                    throw fail("%\(name)( has no closing parenthesis")
                }
                argument = String(decoding: bytes[(index + 1)..<close], as: UTF8.self)
                index = close + 1
            }
            var lengthMax: Int?
            if index < bytes.count, bytes[index] == UInt8(ascii: ":") {
                let digits = bytes[(index + 1)...].prefix { $0 &- 48 < 10 }
                guard let length = Int(String(decoding: digits, as: UTF8.self)) else {
                    throw fail("%\(name): has no length after the colon")
                }
                lengthMax = length
                index = digits.endIndex
            }
            guard index < bytes.count, bytes[index] == UInt8(ascii: "%") else {
                throw fail("%\(name) has no closing percent sign")
            }
            index += 1
            do throws(FormatOperator.Refusal) {
                switch try FormatOperator.parse(name, argument) {
                case .literal(let text): literal += (lengthMax.map { text.utf8.prefix($0) } ?? text.utf8.prefix(.max))
                case .operation(let operation):
                    if !literal.isEmpty { pieces.append(.literal(literal)) }
                    literal = []
                    pieces.append(.command(operation, lengthMax: lengthMax))
                }
            } catch {
                throw fail(error.text)
            }
        }
        if !literal.isEmpty { pieces.append(.literal(literal)) }
        return pieces
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        (byte &- 65 < 26) || byte == UInt8(ascii: "_") || (byte &- 48 < 10)
    }

    // MARK: Rendering

    /// Appends a line with its end.
    func appendLine<Context: FormatContext>(_ context: Context, _ moment: FormatMoment, to bytes: inout FormatLine) {
        append(context, moment, to: &bytes)
        if isJSON { bytes.append(0x0A) }
    }

    /// Appends a line with its end.
    func appendLine<Context: FormatContext>(_ context: Context, _ moment: FormatMoment, to bytes: inout [UInt8]) {
        var line = FormatLine()
        appendLine(context, moment, to: &line)
        line.withBytes { bytes.append(contentsOf: $0) }
    }

    /// Appends what the format says, without a line's end of its own.
    func append<Context: FormatContext>(_ context: Context, _ moment: FormatMoment, to bytes: inout [UInt8]) {
        var line = FormatLine()
        append(context, moment, to: &line)
        line.withBytes { bytes.append(contentsOf: $0) }
    }

    /// Appends what the format says, without a line's end of its own.
    func append<Context: FormatContext>(_ context: Context, _ moment: FormatMoment, to bytes: inout FormatLine) {
        switch form {
        case .text(let text):
            text.append(context, moment, otherwise: omitsEmptyValues ? nil : UInt8(ascii: "-"), to: &bytes)
        case .json(let node): _ = render(node, context, moment, to: &bytes)
        }
    }

    /// Appends an operator's value, cut to what is asked for and to what a line may hold.
    private static func append<Context: FormatContext>(
        _ operation: FormatOperator, _ lengthMax: Int?, _ context: Context, _ moment: FormatMoment,
        to bytes: inout FormatLine
    ) -> Bool {
        let start = bytes.count
        guard operation.append(context, moment, to: &bytes) else { return false }
        let limit = min(lengthMax ?? .max, Limits.formatValueBytes)
        if bytes.count - start > limit { bytes.cut(to: start + limit) }
        return true
    }

    /// Whether there was something to say.
    private func render<Context: FormatContext>(
        _ node: Node, _ context: Context, _ moment: FormatMoment, to bytes: inout FormatLine
    ) -> Bool {
        switch node {
        case .constant(let constant): bytes.append(constant)
        case .array(let elements):
            bytes.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                _ = render(element, context, moment, to: &bytes)
            }
            bytes.append(UInt8(ascii: "]"))
        case .object(let members):
            bytes.append(UInt8(ascii: "{"))
            var isFirst = true
            for (key, member) in members {
                let start = bytes.count
                if !isFirst { bytes.append(UInt8(ascii: ",")) }
                bytes.append(key)
                let isThere = render(member, context, moment, to: &bytes)
                if !isThere, omitsEmptyValues {
                    bytes.cut(to: start)
                } else {
                    isFirst = false
                }
            }
            bytes.append(UInt8(ascii: "}"))
            return !(isFirst && omitsEmptyValues)
        case .text(let pieces):
            bytes.append(UInt8(ascii: "\""))
            let start = bytes.count
            for piece in pieces {
                switch piece {
                case .literal(let literal): bytes.append(literal)
                case .command(let operation, let lengthMax):
                    if !Self.append(operation, lengthMax, context, moment, to: &bytes), !omitsEmptyValues {
                        bytes.append(UInt8(ascii: "-"))
                    }
                }
            }
            LogEscape.json(&bytes, from: start)
            bytes.append(UInt8(ascii: "\""))
        case .value(let operation, let lengthMax):
            if operation.isStructure {
                guard let json = operation.json(context) else {
                    bytes.append("null")
                    return false
                }
                bytes.append(json.bytes)
            } else if operation.isNumber {
                guard operation.append(context, moment, to: &bytes) else {
                    bytes.append("null")
                    return false
                }
            } else {
                let start = bytes.count
                bytes.append(UInt8(ascii: "\""))
                guard Self.append(operation, lengthMax, context, moment, to: &bytes) else {
                    bytes.cut(to: start)
                    bytes.append("null")
                    return false
                }
                LogEscape.json(&bytes, from: start + 1)
                bytes.append(UInt8(ascii: "\""))
            }
        }
        return true
    }
}
