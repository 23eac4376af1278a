internal import Serialization

/// Takes secrets out of what is printed, as Envoy does: everything inside a sensitive field reads `[redacted]`.
enum Redaction {
    private static let text = "[redacted]"
    private static let base64 = Base64.encode(Array(text.utf8))

    /// The names of the fields, in whatever message they stand.
    private static let sensitive: Set<String> = [
        "private_key", "password", "pkcs12", "private_key_provider", "session_ticket_keys", "generic_secret",
        "access_token", "google_refresh_token", "json_key", "authorization_token", "authority_selector", "hmac_secret",
        "token_secret", "users",
    ]

    static func redacted(_ json: JSON) -> JSON {
        switch json {
        case .object(var members):
            for (name, value) in members {
                members[name] = isSensitive(name, value) ? hidden(value, name: name) : redacted(value)
            }
            return .object(members)
        case .array(let elements): return .array(elements.map(redacted))
        default: return json
        }
    }

    /// A list of credentials holds keys; a message of that name holds names, and secrets under names of their own.
    private static func isSensitive(_ name: String, _ value: JSON) -> Bool {
        if case .array = value, name == "credentials" { return true }
        return sensitive.contains(name)
    }

    private static func hidden(_ json: JSON, name: String) -> JSON {
        switch json {
        case .object(let members):
            var result: [String: JSON] = [:]
            for (name, value) in members { result[name] = name == "@type" ? value : hidden(value, name: name) }
            return .object(result)
        case .array(let elements): return .array(elements.map { hidden($0, name: name) })
        case .string: return .string(name == "inline_bytes" ? base64 : text)
        case .null, .bool: return json
        case .integer, .number: return .integer(0)
        }
    }
}
