internal import EnvoyAPI
internal import Serialization
internal import Upstream

/// Path templates of `uri_template` rules: `/users/{*}/books`, `/static/{**}`.
enum PathTemplate {
    private static let segment = "[^/]+"
    private static let anything = ".*"

    static func expression(_ any: AnyMessage?, at path: String) throws(ConfigurationError) -> RegularExpression {
        guard let any else { throw ConfigurationError(at: path + ".typed_config", "is missing") }
        guard any.name == UriTemplateMatchConfig.schema.name else {
            throw ConfigurationError(at: path, "unknown matcher \(any.typeURL)")
        }
        let message = try HTTPFilters.unpack(any, as: UriTemplateMatchConfig.self, at: path)
        let here = path + ".typed_config.path_template"
        let pattern = try pattern(message.pathTemplate, here)
        do throws(RegularExpressionError) {
            return try RegularExpression(pattern)
        } catch {
            throw ConfigurationError(at: here, error.description)
        }
    }

    /// The template as a regular expression over the whole path.
    static func pattern(_ template: String, _ path: String) throws(ConfigurationError) -> String {
        guard template.hasPrefix("/") else { throw ConfigurationError(at: path, "must begin with a slash") }
        var result = ""
        for part in template.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
            result += "/" + (try segment(part, path))
        }
        return result
    }

    private static func segment(_ part: Substring, _ path: String) throws(ConfigurationError) -> String {
        switch part {
        case "*", "{*}": return segment
        case "**", "{**}": return anything
        default: break
        }
        if part.hasPrefix("{"), part.hasSuffix("}") {
            let inner = part.dropFirst().dropLast()
            guard !inner.isEmpty, !inner.contains("{"), !inner.contains("}") else {
                throw ConfigurationError(at: path, "\"\(part)\" is no variable")
            }
            let pieces = inner.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return pieces.count == 1 ? segment : try segment(pieces[1], path)
        }
        guard !part.contains("{"), !part.contains("}") else {
            throw ConfigurationError(at: path, "\"\(part)\": a variable stands for a whole segment")
        }
        // `*.js`: a star for the beginning of a segment.
        return part.split(separator: "*", omittingEmptySubsequences: false).map(quote).joined(separator: "[^/]*")
    }

    private static func quote(_ text: Substring) -> String {
        text.reduce(into: "") { result, character in
            if !character.isLetter && !character.isNumber && character != "_" && character.isASCII { result += "\\" }
            result.append(character)
        }
    }
}
