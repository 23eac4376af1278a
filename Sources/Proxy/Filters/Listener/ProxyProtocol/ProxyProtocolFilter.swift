internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// The listener filter proxy_protocol as configured.
final class ProxyProtocolConfiguration: ListenerFilterConfig {
    /// A TLV that becomes dynamic metadata or filter state.
    struct Rule: Sendable {
        let type: UInt8
        let namespace: String
        let key: String
    }

    static let metadataNamespace = "envoy.filters.listener.proxy_protocol"

    let rules: [Rule]
    let allowsAbsent: Bool
    /// Nil: none is passed on; empty: all.
    let passedOn: Set<UInt8>?
    let refusedVersions: Set<Int>
    let storesInFilterState: Bool
    let metrics: ProxyProtocolMetrics

    init(compiling message: ProxyProtocol, at path: String, metrics: MetricSet) throws(ConfigurationError) {
        try FieldCheck.check(
            message,
            reads: [
                "rules", "allow_requests_without_proxy_protocol", "pass_through_tlvs", "disallowed_versions",
                "stat_prefix", "tlv_location",
            ], at: path)
        var rules: [Rule] = []
        for (index, rule) in message.rules.enumerated() {
            let here = "\(path).rules[\(index)]"
            guard let type = UInt8(exactly: rule.tlvType) else {
                throw ConfigurationError(at: here + ".tlv_type", "\(rule.tlvType) is not below 256")
            }
            // Without a place to put it a rule finds nothing out.
            guard let place = rule.onTlvPresent else { continue }
            guard !place.key.isEmpty else {
                throw ConfigurationError(at: here + ".on_tlv_present.key", "a key is needed")
            }
            rules.append(
                Rule(
                    type: type,
                    namespace: place.metadataNamespace.isEmpty ? Self.metadataNamespace : place.metadataNamespace,
                    key: place.key))
        }
        self.rules = rules
        allowsAbsent = message.allowRequestsWithoutProxyProtocol
        passedOn = try message.passThroughTlvs.flatMap { (passed) throws(ConfigurationError) in
            try passed.types(at: path + ".pass_through_tlvs")
        }
        refusedVersions = Set(message.disallowedVersions.map { $0 == .v1 ? 1 : 2 })
        storesInFilterState = message.tlvLocation == .filterState
        self.metrics = ProxyProtocolMetrics(
            message.statPrefix.isEmpty
                ? metrics.scope("proxy_proto") : metrics.scope("proxy_proto", message.statPrefix))
    }

    func make(_ listener: ListenerRuntime) -> (any ConnectionInspector)? {
        ProxyProtocolFilter(self, row: listener.worker.index)
    }
}

/// The counters of one `stat_prefix`.
struct ProxyProtocolMetrics: Sendable {
    /// What happened to headers of one version.
    struct Version: Sendable {
        let found: MetricCounter
        let disallowed: MetricCounter
        let error: MetricCounter

        init(_ scope: MetricScope, _ name: String) {
            found = scope.counter("versions.\(name).found")
            disallowed = scope.counter("versions.\(name).disallowed")
            error = scope.counter("versions.\(name).error")
        }
    }

    let notFoundDisallowed: MetricCounter
    let notFoundAllowed: MetricCounter
    let v1: Version
    let v2: Version

    init(_ scope: MetricScope) {
        notFoundDisallowed = scope.counter("not_found_disallowed")
        notFoundAllowed = scope.counter("not_found_allowed")
        v1 = Version(scope, "v1")
        v2 = Version(scope, "v2")
    }
}

/// Takes a PROXY protocol header off a connection.
final class ProxyProtocolFilter: ConnectionInspector {
    private let config: ProxyProtocolConfiguration
    private let row: Int

    init(_ config: ProxyProtocolConfiguration, row: Int) {
        self.config = config
        self.row = row
    }

    func inspect(
        _ bytes: UnsafeRawBufferPointer, _ info: inout ConnectionInfo, isLast: Bool, consumed: inout Int
    ) -> ListenerFilterStep {
        switch ProxyHeaderParser.parse(bytes) {
        case .undecided:
            guard isLast else { return .more }
            // A header that is not whole is none of the client's bytes either; nothing at all is a client without one.
            return bytes.isEmpty ? absent() : refuse(config.metrics.v1.error)
        case .absent: return absent()
        case .malformed(let version): return refuse(version == 1 ? config.metrics.v1.error : config.metrics.v2.error)
        case .header(let header, let count):
            let counters = header.version == 1 ? config.metrics.v1 : config.metrics.v2
            if config.refusedVersions.contains(header.version) {
                return refuse(counters.disallowed)
            }
            counters.found.add(row: row)
            consumed = count
            apply(header, to: &info)
            return .next
        }
    }

    private func absent() -> ListenerFilterStep {
        if config.allowsAbsent {
            config.metrics.notFoundAllowed.add(row: row)
            return .next
        }
        return refuse(config.metrics.notFoundDisallowed)
    }

    private func refuse(_ counter: MetricCounter) -> ListenerFilterStep {
        counter.add(row: row)
        return .close("proxy_protocol_error")
    }

    private func apply(_ header: ProxyHeader, to info: inout ConnectionInfo) {
        if let source = header.source, let destination = header.destination {
            info.remoteAddress = source
            // Where the client wanted to go; like a redirect, so that ORIGINAL_DST clusters go there too.
            if destination != info.localAddress { info.isRedirected = true }
            info.localAddress = destination
        }
        var facts = info.facts
        for tlv in header.tlvs {
            for rule in config.rules where rule.type == tlv.type {
                let text = String(decoding: tlv.value, as: UTF8.self)
                if config.storesInFilterState {
                    facts.filterState["\(rule.namespace).\(rule.key)"] = text
                } else {
                    facts.metadata[rule.namespace, default: .object([:])][rule.key] = .string(text)
                }
            }
        }
        var kept = header
        kept.tlvs =
            config.passedOn.map { types in
                types.isEmpty ? header.tlvs : header.tlvs.filter { types.contains($0.type) }
            } ?? []
        facts.proxyProtocol = kept
        info.facts = facts
    }
}
