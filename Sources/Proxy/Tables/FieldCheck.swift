internal import EnvoyAPI
internal import Serialization
internal import Upstream

/// Makes sure that no field which is set is passed over in silence: a message's fields are either read by the compiler,
/// or in `IgnoredProxyFields` with a reason, or refused with their path.
enum FieldCheck {
    /// Checks one message (not what is inside its fields).
    static func check<M: Message>(_ message: M, reads: Set<String>, at path: String) throws(ConfigurationError) {
        for number in message.setFields {
            let field = M.schema.name(of: number, .proto)
            if reads.contains(field) { continue }
            guard let reason = IgnoredProxyFields.reason(message: M.schema.name, field: field) else {
                throw ConfigurationError(at: join(path, field), "not supported yet; remove the field")
            }
            IgnoredFieldCollector.current?.note(join(path, field), reason)
        }
    }

    static func join(_ path: String, _ field: String) -> String { path.isEmpty ? field : path + "." + field }
}
