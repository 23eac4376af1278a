/// What a label of a metric is computed of: the part of CEL that Istio's Telemetry uses for tags.
///
/// Attributes are those of https://istio.io/latest/docs/reference/config/proxy_extensions/stats/ and Envoy's.
public enum TagExpression: Hashable, Sendable {
    /// A text.
    case literal(String)
    /// `request.method`.
    case requestMethod
    /// `request.host`.
    case requestHost
    /// `request.path` or `request.url_path`, without the query.
    case requestPath
    /// `request.protocol`: `http`, `grpc` or `tcp`.
    case requestProtocol
    /// `request.headers['name']`, `request.useragent`, `request.id`, `request.referer`.
    case requestHeader(String)
    /// `response.headers['name']`.
    case responseHeader(String)
    /// `response.code`.
    case responseCode
    /// `destination.port`.
    case destinationPort

    /// What can be written, for messages.
    public static let supported =
        "a text in quotes, request.method, .host, .path, .url_path, .protocol, .headers['name'], .useragent, .id, .referer, "
        + "response.code, .headers['name'], destination.port, or string() of these"

    /// Reads an expression; nil when it is something else.
    public init?(_ text: String) {
        var rest = Self.trimmed(text[...])
        if rest.hasPrefix("string("), rest.hasSuffix(")") { rest = Self.trimmed(rest.dropFirst(7).dropLast()) }
        if let literal = Self.quoted(rest) {
            self = .literal(literal)
            return
        }
        switch rest {
        case "request.method": self = .requestMethod
        case "request.host": self = .requestHost
        case "request.path", "request.url_path": self = .requestPath
        case "request.protocol": self = .requestProtocol
        case "request.useragent": self = .requestHeader("user-agent")
        case "request.id": self = .requestHeader("x-request-id")
        case "request.referer": self = .requestHeader("referer")
        case "response.code": self = .responseCode
        case "destination.port": self = .destinationPort
        default:
            if let name = Self.index(rest, of: "request.headers") {
                self = .requestHeader(name)
            } else if let name = Self.index(rest, of: "response.headers") {
                self = .responseHeader(name)
            } else {
                return nil
            }
        }
    }

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        return text
    }

    /// A text in single or double quotes, without escapes.
    private static func quoted(_ text: Substring) -> String? {
        guard text.utf8.count >= 2, let quote = text.first, quote == "'" || quote == "\"", text.last == quote else {
            return nil
        }
        let inner = text.dropFirst().dropLast()
        return inner.contains(quote) || inner.contains("\\") ? nil : String(inner)
    }

    /// The name of `name['x']`, in small letters.
    private static func index(_ text: Substring, of name: String) -> String? {
        guard text.hasPrefix(name + "["), text.hasSuffix("]") else { return nil }
        guard let inner = quoted(trimmed(text.dropFirst(name.utf8.count + 1).dropLast())), !inner.isEmpty,
            inner.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != 0x3A })
        else { return nil }
        return inner.lowercased()
    }
}
