internal import EnvoyAPI
internal import Serialization
internal import Upstream

/// Makes sure that no field which is set is passed over in silence: a message's fields are either read by the compiler,
/// or in `IgnoredProxyFields` with a reason, or refused with their path.
enum FieldCheck {
    /// Checks one message (not what is inside its fields).
    static func check<M: Message>(_ message: M, reads: Set<String>, at path: String) throws(ConfigurationError) {
        // Only the names are looked at: what is inside the fields may be ten thousand virtual hosts.
        let fields = message.setFields.map { M.schema.name(of: $0, .proto) }
        for field in fields.sorted() where !reads.contains(field) {
            guard IgnoredProxyFields.reason(message: M.schema.name, field: field) != nil else {
                throw ConfigurationError(at: join(path, field), "not supported yet; remove the field")
            }
        }
    }

    static func join(_ path: String, _ field: String) -> String { path.isEmpty ? field : path + "." + field }
}
