internal import EnvoyAPI
internal import HTTP
internal import Upstream

/// A header field that a call carries: metadata of a gRPC call, a configured field of an HTTP one.
struct CallField: Sendable {
    let name: String
    let value: HeaderTemplate

    init(compiling message: HeaderValue, at path: String) throws(ConfigurationError) {
        guard !message.key.isEmpty, !message.key.hasPrefix(":") else {
            throw ConfigurationError(at: path + ".key", "\"\(message.key)\" is no header field")
        }
        var probe = HeaderTable()
        do throws(HTTPFieldError) {
            try probe.append(message.key, message.value)
        } catch {
            throw ConfigurationError(at: path, "\(message.key): is no header field")
        }
        name = message.key
        if message.rawValue.isEmpty {
            do throws(HeaderTemplateError) {
                value = try HeaderTemplate(parsing: message.value)
            } catch {
                throw ConfigurationError(at: path + ".value", error.description)
            }
        } else {
            value = HeaderTemplate(constant: String(decoding: message.rawValue, as: UTF8.self))
        }
    }

    static func list(_ messages: [HeaderValue], at path: String) throws(ConfigurationError) -> [CallField] {
        var fields: [CallField] = []
        for (index, message) in messages.enumerated() {
            fields.append(try CallField(compiling: message, at: "\(path)[\(index)]"))
        }
        return fields
    }

    /// Adds the field, with its operators filled in from a stream; without one only literal text counts.
    func add(to headers: inout HeaderTable, _ stream: HTTPStream?) {
        let bytes = stream.map { HeaderRewriter(stream: $0).render(value) } ?? value.literal ?? []
        // A value that cannot be written is left out rather than sent.
        let nameBytes = Array(name.utf8)
        try? headers.append(nameBytes.span.bytes, bytes.span.bytes)
    }
}
