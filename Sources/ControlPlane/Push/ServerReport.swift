import KubernetesAPI
import Mesh
import Serialization
import XDS

/// What a control plane tells the others of its proxies.
///
/// Several may serve one store, and a proxy is connected to one of them. Pure.
struct ServerReport: Sendable, Equatable {
    /// A gateway's proxy.
    struct Gateway: Sendable, Equatable {
        var pod: NamespacedName
        var isSettled: Bool
        /// What it refuses, by type.
        var rejected: [String: String]
    }

    /// Proxies that are named one by one: those that are behind, and the rows of `skein proxy-status`.
    static let behindMax = 100
    static let rowsMax = 300
    static let refusalsMax = 50
    static let gatewaysMax = 50
    /// Letters of what a proxy says about something that it refuses.
    static let messageMax = 500

    /// Up to which revision of the store it has translated.
    var latest: Int64 = 0
    /// How many proxies are connected.
    var proxies = 0
    /// What all of them have acknowledged.
    var least: Int64 = 0
    /// Those that have not acknowledged `latest`, and what they have; the first of them.
    var behind: [String: Int64] = [:]
    /// What is refused, as `skein proxy-status` shows it.
    var refused: [JSON] = []
    /// The gateways' proxies.
    var gateways: [Gateway] = []
    /// The rows of `skein proxy-status`; the first of them.
    var rows: [JSON] = []
    /// What it has sent to its proxies, as `skein status --traffic` asks for it.
    var traffic: JSON = .object([:])

    /// Whether all its proxies have acknowledged a revision.
    func hasReached(_ revision: Int64) -> Bool { proxies == 0 || latest >= revision && least >= revision }

    /// Those of its proxies that have not acknowledged a revision, as far as they are named.
    func waiting(for revision: Int64) -> [String] {
        guard !hasReached(revision) else { return [] }
        let names = behind.filter { $0.value < revision }.keys.sorted()
        return names.isEmpty ? ["(a proxy of another control plane)"] : names
    }

    /// What is refused because of an object; everything without one.
    func refusals(of object: (kind: String, name: NamespacedName)?) -> [JSON] {
        guard let object else { return refused }
        return refused.filter { refusal in
            (refusal["sources"]?.array ?? []).contains {
                $0["kind"]?.string == object.kind && $0["namespace"]?.string == object.name.namespace
                    && $0["name"]?.string == object.name.name
            }
        }
    }

    /// The gateways' proxies as they stand to what was changed at a revision: who has not come to it has not acknowledged it.
    func gateways(since revision: Int64) -> [(pod: NamespacedName, isSettled: Bool, rejected: [String: String])] {
        gateways.map { ($0.pod, $0.isSettled && latest >= revision, $0.rejected) }
    }

    /// As it is written.
    var json: JSON {
        [
            "latest": .integer(latest), "proxies": .integer(Int64(proxies)), "least": .integer(least),
            "behind": .object(behind.mapValues { .integer($0) }), "refused": .array(refused), "rows": .array(rows),
            "traffic": traffic,
            "gateways": .array(
                gateways.map { gateway in
                    [
                        "namespace": .string(gateway.pod.namespace), "pod": .string(gateway.pod.name),
                        "settled": .bool(gateway.isSettled),
                        "rejected": .object(gateway.rejected.mapValues { .string($0) }),
                    ]
                }),
        ]
    }

    /// The sums of numbers of the same names; `generations` is how often each translated, which they did for the same changes.
    static func total(_ all: [JSON]) -> JSON {
        var sums: [String: JSON] = [:]
        for (name, value) in all.flatMap({ $0.object ?? [:] }) {
            switch (sums[name], value) {
            case (.object?, .object): sums[name] = total([sums[name] ?? .null, value])
            case (nil, .object), (nil, .integer): sums[name] = value
            case (.integer(let sum)?, .integer(let number)):
                sums[name] = .integer(
                    name == "generations" ? max(sum, number) : sum.addingReportingOverflow(number).partialValue)
            default: continue
            }
        }
        return .object(sums)
    }

    init() {}

    /// As another has written it; nil when that cannot be read.
    init?(_ bytes: [UInt8]) {
        guard let json = try? JSON.parse(bytes), let latest = json["latest"]?.int, let proxies = json["proxies"]?.int,
            let least = json["least"]?.int, proxies >= 0
        else { return nil }
        self.latest = Int64(latest)
        self.proxies = proxies
        self.least = Int64(least)
        behind = (json["behind"]?.object ?? [:]).compactMapValues { $0.int.map(Int64.init) }
        refused = json["refused"]?.array ?? []
        rows = json["rows"]?.array ?? []
        traffic = json["traffic"] ?? .object([:])
        gateways = (json["gateways"]?.array ?? []).map { gateway in
            Gateway(
                pod: NamespacedName(
                    namespace: gateway["namespace"]?.string ?? "", name: gateway["pod"]?.string ?? ""),
                isSettled: gateway["settled"]?.bool ?? false,
                rejected: (gateway["rejected"]?.object ?? [:]).compactMapValues(\.string))
        }
    }
}

extension SnapshotPublisher {
    /// What other control planes should know of the proxies here.
    ///
    /// - Parameters:
    ///   - row: a proxy as `skein proxy-status` shows it.
    ///   - refusal: something refused as it shows that.
    func report(row: (ProxyState) -> JSON, refusal: (Refusal) -> JSON) -> ServerReport {
        var report = ServerReport()
        report.latest = revisions.latest
        report.least = report.latest
        let streams = configured.sorted { $0.proxy.pod < $1.proxy.pod }
        report.proxies = streams.count
        for stream in streams where stream.base != nil {
            let acknowledged = revisions[stream.server.acknowledgedGeneration]
            report.least = min(report.least, acknowledged)
            if acknowledged < report.latest, report.behind.count < ServerReport.behindMax {
                report.behind["\(stream.proxy.pod)"] = acknowledged
            }
        }
        report.gateways = proxies(in: GatewayObjects.namespace).prefix(ServerReport.gatewaysMax).map { proxy in
            ServerReport.Gateway(
                pod: proxy.pod, isSettled: proxy.isSettled,
                rejected: proxy.rejected.mapValues { String($0.prefix(ServerReport.messageMax)) })
        }
        for stream in streams where report.refused.count < ServerReport.refusalsMax {
            for found in refusals(of: stream).prefix(ServerReport.refusalsMax - report.refused.count) {
                var found = found
                found.message = String(found.message.prefix(ServerReport.messageMax))
                report.refused.append(refusal(found))
            }
        }
        report.rows = streams.prefix(ServerReport.rowsMax).map { row(state(of: $0)) }
        return report
    }

    /// The revision of the store at which the present translation was made.
    var changedRevision: Int64 { revisions.changed }
}
