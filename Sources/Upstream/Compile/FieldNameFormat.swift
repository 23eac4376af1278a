public import EnvoyAPI
internal import Serialization

/// How the names of fields are written to peers of HTTP/1: Envoy's `header_key_format`.
public enum FieldNameFormat: Sendable, Hashable {
    /// As they are kept.
    case lowerCase
    /// With a capital at the front of each word: `Content-Type`.
    case properCase
    /// The way the other side wrote them (`preserve_case`).
    ///
    /// - `forwardsReason`: The reason phrase of responses is forwarded, too.
    /// - `capitalizesOthers`: Names that the other side did not send are written in proper case.
    case preserved(forwardsReason: Bool, capitalizesOthers: Bool)

    /// Compiles a format; one that is not there is lower case.
    public init(compiling format: Http1ProtocolOptions.HeaderKeyFormat?, at path: String) throws(ConfigurationError) {
        switch format?.headerFormat {
        case nil: self = .lowerCase
        case .properCaseWords: self = .properCase
        case .statefulFormatter(let named):
            let place = FieldPath(path) / "stateful_formatter" / "typed_config"
            guard let any = named.typedConfig else { throw place.error("missing") }
            guard any.holds(PreserveCaseFormatterConfig.self) else { throw place.unsupported(any.typeURL) }
            let config: PreserveCaseFormatterConfig
            do throws(MessageError) {
                config = try any.unpack()
            } catch {
                throw ConfigurationError(
                    at: error.path.isEmpty ? place.text : (place / error.path).text, error.problem)
            }
            let capitalizes: Bool
            switch config.formatterTypeOnEnvoyHeaders {
            case .default: capitalizes = false
            case .properCase: capitalizes = true
            case .unrecognized(let number):
                throw (place / "formatter_type_on_envoy_headers").error("\(number) is no formatter")
            }
            self = .preserved(forwardsReason: config.forwardReasonPhrase, capitalizesOthers: capitalizes)
        }
    }
}
