internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Upstream

/// A tag that a configuration adds to spans and log entries.
struct CustomTagRule: Sendable {
    /// Where its value comes from.
    enum Source: Sendable {
        case literal(String)
        case header(FormatField, otherwise: String)
        case metadata(FormatOperator.MetadataSource, path: [String], otherwise: String)
        case format(SubstitutionFormat)
    }

    let name: String
    let source: Source

    static func compile(_ messages: [CustomTag], at path: String) throws(ConfigurationError) -> [CustomTagRule] {
        var rules: [CustomTagRule] = []
        for (index, message) in messages.enumerated() {
            let here = "\(path)[\(index)]"
            guard !message.tag.isEmpty else { throw ConfigurationError(at: here + ".tag", "is empty") }
            rules.append(CustomTagRule(name: message.tag, source: try source(message, at: here)))
        }
        return rules
    }

    private static func source(_ message: CustomTag, at path: String) throws(ConfigurationError) -> Source {
        switch message.type {
        case .literal(let literal): return .literal(literal.value)
        case .environment(let environment):
            return .literal(Environment.variable(environment.name) ?? environment.defaultValue)
        case .requestHeader(let header):
            guard !header.name.isEmpty else {
                throw ConfigurationError(at: path + ".request_header.name", "is empty")
            }
            return .header(FormatField(header.name), otherwise: header.defaultValue)
        case .metadata(let metadata):
            var keys = [metadata.metadataKey?.key ?? ""]
            for segment in metadata.metadataKey?.path ?? [] {
                if case .key(let key)? = segment.segment { keys.append(key) }
            }
            let kind: FormatOperator.MetadataSource =
                switch metadata.kind?.kind {
                case .route?: .route
                case .cluster?: .cluster
                case .host?: .upstream
                default: .dynamic
                }
            return .metadata(kind, path: keys, otherwise: metadata.defaultValue)
        case .value(let text): return .format(try SubstitutionFormat(text: text, path: path + ".value"))
        case nil: throw ConfigurationError(at: path, "a kind is needed: literal, environment, request_header, metadata")
        }
    }

    /// The tag's value; nil when there is none.
    func value<Context: FormatContext>(_ context: Context, _ moment: FormatMoment) -> String? {
        switch source {
        case .literal(let text): return text.isEmpty ? nil : text
        case .header(let field, let otherwise):
            if let value = context.requestField(field) { return String(decoding: value, as: UTF8.self) }
            return otherwise.isEmpty ? nil : otherwise
        case .metadata(let source, let path, let otherwise):
            if let json = FormatOperator.metadata(source, path: path).json(context) {
                if case .string(let text) = json { return text }
                return json.text
            }
            return otherwise.isEmpty ? nil : otherwise
        case .format(let format):
            var bytes: [UInt8] = []
            format.append(context, moment, to: &bytes)
            return bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self)
        }
    }
}
