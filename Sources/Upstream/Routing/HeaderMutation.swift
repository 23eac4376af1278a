/// One change to a field list, as configured at a route, virtual host, table or weighted cluster.
public struct HeaderMutation: Sendable, Hashable {
    /// What happens to the field.
    public enum Operation: Sendable, Hashable {
        /// All fields of this name go.
        case remove
        /// One more field of this name.
        case append(HeaderTemplate)
        /// A field of this name only where there was none.
        case addIfAbsent(HeaderTemplate)
        /// This field in place of all others of its name.
        case overwriteOrAdd(HeaderTemplate)
        /// This field in place of others of its name, and nothing where there was none.
        case overwriteIfPresent(HeaderTemplate)
    }

    /// Which field.
    ///
    /// `:path`, `:authority` and other pseudo headers are refused at compile time, as in Envoy.
    public let name: HeaderName
    /// What happens to it.
    public let operation: Operation
    /// Whether a value that renders to nothing is still written.
    public let keepsEmptyValue: Bool

    /// A change.
    public init(name: HeaderName, operation: Operation, keepsEmptyValue: Bool = false) {
        self.name = name
        self.operation = operation
        self.keepsEmptyValue = keepsEmptyValue
    }
}

/// A header value with command operators: `%DOWNSTREAM_REMOTE_ADDRESS%`, `%REQ(x-id):8%`.
///
/// Upstream splits it; the proxy, who knows the connection, renders it. The operators that `RouteTable` lets pass are
/// in `HeaderTemplate.operators`; the proxy must know each of them.
public struct HeaderTemplate: Sendable, Hashable {
    /// A piece of the value.
    public enum Segment: Sendable, Hashable {
        /// These bytes.
        case literal([UInt8])
        /// What an operator stands for, cut to a length when one is given.
        case command(name: String, argument: String?, lengthMax: Int?)
    }

    /// The pieces in order.
    public let segments: [Segment]

    /// The operators a header value may use.
    public static let operators: Set<String> = [
        "DOWNSTREAM_REMOTE_ADDRESS", "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_REMOTE_PORT",
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS", "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
        "DOWNSTREAM_LOCAL_ADDRESS", "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_LOCAL_PORT",
        "UPSTREAM_REMOTE_ADDRESS", "UPSTREAM_HOST", "UPSTREAM_CLUSTER", "ROUTE_NAME", "PROTOCOL", "START_TIME",
        "HOSTNAME", "REQ", "RESP", "RESPONSE_CODE", "RESPONSE_FLAGS", "REQUESTED_SERVER_NAME",
    ]

    /// The constant value, when no operator stands in it: no rendering needed.
    public var literal: [UInt8]? {
        if segments.isEmpty { return [] }
        if segments.count == 1, case .literal(let bytes) = segments[0] { return bytes }
        return nil
    }

    /// A constant value, in which a percent sign is just that.
    public init(constant text: String) { segments = text.isEmpty ? [] : [.literal(Array(text.utf8))] }

    /// Splits a format; `%%` is a percent sign.
    ///
    /// The error says what is wrong, without a path.
    public init(parsing format: String) throws(HeaderTemplateError) {
        var segments: [Segment] = []
        var literal: [UInt8] = []
        let bytes = Array(format.utf8)
        var index = 0
        while index < bytes.count {
            guard bytes[index] == 0x25 else {
                literal.append(bytes[index])
                index += 1
                continue
            }
            if index + 1 < bytes.count, bytes[index + 1] == 0x25 {
                literal.append(0x25)
                index += 2
                continue
            }
            let (segment, end) = try Self.command(in: bytes, at: index + 1)
            if !literal.isEmpty { segments.append(.literal(literal)) }
            literal = []
            segments.append(segment)
            index = end
        }
        if !literal.isEmpty { segments.append(.literal(literal)) }
        self.segments = segments
    }

    /// Reads `NAME(argument):length%`; gives the index after the closing percent sign.
    private static func command(in bytes: [UInt8], at start: Int) throws(HeaderTemplateError) -> (Segment, Int) {
        var index = start
        while index < bytes.count, isNameByte(bytes[index]) { index += 1 }
        let name = String(decoding: bytes[start..<index], as: UTF8.self)
        guard operators.contains(name) else {
            throw HeaderTemplateError("unknown command operator %\(name)% (a percent sign is written %%)")
        }
        var argument: String?
        if index < bytes.count, bytes[index] == 0x28 {
            guard let close = bytes[index...].firstIndex(of: 0x29) else {
                throw HeaderTemplateError("%\(name)( has no closing parenthesis")
            }
            argument = String(decoding: bytes[(index + 1)..<close], as: UTF8.self)
            index = close + 1
        }
        var lengthMax: Int?
        if index < bytes.count, bytes[index] == 0x3A {
            let digits = bytes[(index + 1)...].prefix { $0 &- 0x30 < 10 }
            guard let length = Int(String(decoding: digits, as: UTF8.self)) else {
                throw HeaderTemplateError("%\(name): has no length after the colon")
            }
            lengthMax = length
            index = digits.endIndex
        }
        guard index < bytes.count, bytes[index] == 0x25 else {
            throw HeaderTemplateError("%\(name) has no closing percent sign")
        }
        if argument == nil, name == "REQ" || name == "RESP" {
            throw HeaderTemplateError("%\(name)% needs a header name: %\(name)(x-id)%")
        }
        return (.command(name: name, argument: argument, lengthMax: lengthMax), index + 1)
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        (byte &- 65 < 26) || byte == 0x5F || (byte &- 0x30 < 10)
    }
}

/// Why a header format was refused.
public struct HeaderTemplateError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What is wrong.
    public let description: String

    init(_ description: String) { self.description = description }
}
