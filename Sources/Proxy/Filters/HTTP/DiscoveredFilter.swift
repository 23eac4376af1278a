internal import EnvoyAPI
internal import HTTP
internal import Serialization
internal import Synchronization
internal import Telemetry
internal import Upstream

/// An HTTP filter whose configuration is discovered by its name (ECDS: `config_discovery`).
///
/// The listener waits for the configuration; a default takes its place when it does not come in time, or at once where that is wanted. Requests
/// get 500 where there is neither.
final class DiscoveredFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let source: DiscoverySource
    /// How long the listener waits; nil is for ever.
    let timeout: Duration?
    private let types: Set<String>
    private let compile: @Sendable (AnyMessage, String) throws(ConfigurationError) -> any HTTPFilterConfig
    private let fallback: (any HTTPFilterConfig)?
    private let missing: MetricCounter
    private let row: Int
    private let state: Mutex<State>

    private struct State: Sendable {
        var config: (any HTTPFilterConfig)?
        /// Requests may come.
        var isReady: Bool
    }

    init(
        compiling message: ExtensionConfigSource, name: String, isDisabled: Bool, at path: String,
        context: CompileContext, statPrefix: String,
        compile: @escaping @Sendable (AnyMessage, String) throws(ConfigurationError) -> any HTTPFilterConfig
    ) throws(ConfigurationError) {
        try FieldCheck.check(
            message,
            reads: ["config_source", "default_config", "apply_default_config_without_warming", "type_urls"], at: path)
        guard !message.typeUrls.isEmpty else {
            throw ConfigurationError(at: path + ".type_urls", "the types that may come are needed")
        }
        self.name = name
        self.isDisabled = isDisabled
        self.compile = compile
        types = Set(message.typeUrls.map { $0.split(separator: "/").last.map(String.init) ?? "" })
        source = try DiscoverySource(
            compiling: message.configSource, at: path + ".config_source", hasADS: context.hasADS)
        timeout = DiscoverySource.initialFetchTimeout(message.configSource)
        if let any = message.defaultConfig {
            guard types.contains(any.name) else {
                throw ConfigurationError(at: path + ".default_config", "\(any.typeURL) is none of type_urls")
            }
            fallback = try compile(any, path + ".default_config")
        } else {
            fallback = nil
        }
        guard !message.applyDefaultConfigWithoutWarming || fallback != nil else {
            throw ConfigurationError(
                at: path + ".apply_default_config_without_warming", "there is no default_config")
        }
        let servesAtOnce = message.applyDefaultConfigWithoutWarming
        missing = context.metrics.scope("http", statPrefix, "extension_config_discovery").counter(
            "http_filter.\(name).config_missing")
        row = context.metrics.controlRow
        state = Mutex(State(config: servesAtOnce ? fallback : nil, isReady: servesAtOnce))
    }

    var isReady: Bool { state.withLock { $0.isReady } }

    /// Takes what was discovered.
    func set(_ any: AnyMessage, at path: String) throws(ConfigurationError) {
        guard types.contains(any.name) else {
            throw ConfigurationError(at: path, "\(any.typeURL) is none of the filter's type_urls")
        }
        let compiled = try compile(any, path)
        state.withLock { $0 = State(config: compiled, isReady: true) }
    }

    /// What was discovered is gone.
    func remove() { state.withLock { $0.config = fallback } }

    /// The time is over.
    func giveUpWaiting() {
        guard !isReady else { return }
        if fallback == nil { missing.add(row: row) }
        state.withLock { $0 = State(config: fallback, isReady: true) }
    }

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? {
        guard let config = state.withLock({ $0.config }) else { return MissingFilter() }
        return config.make(stream)
    }

    /// Stands where a configuration should: a filter left out may be the one that protects.
    private final class MissingFilter: HTTPFilter {
        let interest: FilterInterest = .requestHead

        func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
            stream.info.flags.insert(.noFilterConfigFound)
            stream.localReply(status: 500, details: "filter_config_not_found")
            return .stop
        }
    }
}
