internal import EnvoyAPI
internal import Serialization
internal import Telemetry
internal import Upstream

/// `envoy.filters.http.set_metadata`: gives each request dynamic metadata that is always the same.
struct SetMetadataFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let entries: [SetMetadataEntryRule]
    let denied: MetricCounter

    static let kind = HTTPFilterKind(
        SetMetadata.self, perRoute: SetMetadata.self,
        compile: { message, context throws(ConfigurationError) in
            SetMetadataFilterConfig(
                name: context.name, isDisabled: context.isDisabled,
                entries: try SetMetadataEntryRule.list(message, at: context.path),
                denied: context.compile.metrics.registry.scope(["http", context.statPrefix, "set_metadata"])
                    .counter("overwrite_denied"))
        },
        compileRoute: { message, context throws(ConfigurationError) in
            SetMetadataRoute(
                entries: try SetMetadataEntryRule.list(message, at: context.path),
                denied: context.compile.metrics.registry.scope(["set_metadata"]).counter("overwrite_denied"))
        })

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? {
        let route = stream.routeConfig(for: name) as? SetMetadataRoute
        return entries.isEmpty && route == nil ? nil : SetMetadataFilter(self, route)
    }
}

/// What a level adds.
struct SetMetadataRoute: Sendable {
    let entries: [SetMetadataEntryRule]
    /// Envoy counts apart what a route's values were denied.
    let denied: MetricCounter
}

/// One namespace's values.
struct SetMetadataEntryRule: Sendable {
    let namespace: String
    let value: JSON
    /// Whether it is merged with what is there.
    let overwrites: Bool

    static func list(_ message: SetMetadata, at path: String) throws(ConfigurationError) -> [SetMetadataEntryRule] {
        try FieldCheck.check(message, reads: ["metadata_namespace", "value", "metadata"], at: path)
        var result: [SetMetadataEntryRule] = []
        // The older way to say it: one namespace, always merged.
        if let value = message.value, !message.metadataNamespace.isEmpty {
            result.append(SetMetadataEntryRule(namespace: message.metadataNamespace, value: value, overwrites: true))
        }
        for (index, entry) in message.metadata.enumerated() {
            let here = "\(path).metadata[\(index)]"
            try FieldCheck.check(entry, reads: ["metadata_namespace", "allow_overwrite", "value"], at: here)
            guard !entry.metadataNamespace.isEmpty else {
                throw ConfigurationError(at: here + ".metadata_namespace", "is empty")
            }
            guard let value = entry.value else { throw ConfigurationError(at: here + ".value", "is missing") }
            result.append(
                SetMetadataEntryRule(
                    namespace: entry.metadataNamespace, value: value, overwrites: entry.allowOverwrite))
        }
        return result
    }

    /// Puts the values where they belong; false where something is there that must stay.
    func apply(to metadata: inout [String: JSON]) -> Bool {
        guard let known = metadata[namespace] else {
            metadata[namespace] = value
            return true
        }
        guard overwrites else { return false }
        metadata[namespace] = Self.merge(known, value, depth: 0)
        return true
    }

    /// Objects are merged member by member and lists are joined; of anything else the new value wins.
    ///
    /// The bound of depth is that of a configuration's values: what is deeper is replaced whole.
    private static func merge(_ old: JSON, _ new: JSON, depth: Int) -> JSON {
        guard depth < YAML.depthMax else { return new }
        switch (old, new) {
        case (.object(var members), .object(let others)):
            for (key, value) in others {
                members[key] = members[key].map { merge($0, value, depth: depth + 1) } ?? value
            }
            return .object(members)
        case (.array(let elements), .array(let others)): return .array(elements + others)
        default: return new
        }
    }
}

/// The values on their way to one request.
final class SetMetadataFilter: HTTPFilter {
    private let config: SetMetadataFilterConfig
    private let route: SetMetadataRoute?
    let interest: FilterInterest = .requestHead

    init(_ config: SetMetadataFilterConfig, _ route: SetMetadataRoute?) {
        self.config = config
        self.route = route
    }

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        let row = stream.worker.index
        // What the filter sets comes first, then what the most specific level sets.
        for entry in config.entries where !entry.apply(to: &stream.info.metadata) { config.denied.add(row: row) }
        if let route {
            for entry in route.entries where !entry.apply(to: &stream.info.metadata) { route.denied.add(row: row) }
        }
        return .next
    }
}
