import EnvoyAPI
import HTTP
import KubernetesAPI
import Mesh
import Serialization

/// What `skein status`, `proxy-status`, `proxy-config` and `apply --wait` ask: below `/skein/v1/` on the API, for administrators.
///
/// - `proxies`: every connected proxy with its state;
/// - `convergence[?revision=N][&kind=K&namespace=NS&name=N]`: who has acknowledged a revision (the last one that was
///   written, if none is named), who not, and why;
/// - `traffic`: what went over the streams;
/// - `config?namespace=NS&pod=P&type=clusters|listeners|routes|endpoints`: what a proxy is to know. Secrets are never among it.
///
/// `@unchecked Sendable`: used on one loop.
final class DiscoveryPages: @unchecked Sendable {
    private let streams: ProxyStreams

    init(_ streams: ProxyStreams) { self.streams = streams }

    func answer(_ request: HTTPRequest) -> HTTPResponse {
        guard request.head.method == .get else { return HTTPResponse(status: 405, text: "GET only\n") }
        let query = Dictionary(request.queryItems.map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first })
        switch request.path {
        case "/skein/v1/proxies": return json(proxies)
        case "/skein/v1/convergence": return convergence(query)
        case "/skein/v1/traffic": return json(traffic)
        case "/skein/v1/config": return config(query)
        default:
            return HTTPResponse(status: 404, text: "see /skein/v1/{proxies,convergence,traffic,config}\n")
        }
    }

    private func json(_ value: JSON) -> HTTPResponse {
        HTTPResponse(status: 200, contentType: "application/json", body: value.bytes)
    }

    // MARK: Proxies

    /// `Cluster` to `CDS`, as istioctl names the columns.
    private static let columns: [(name: String, typeURL: String)] = [
        ("CDS", Cluster.typeURL), ("LDS", Listener.typeURL), ("EDS", ClusterLoadAssignment.typeURL),
        ("RDS", RouteConfiguration.typeURL), ("ECDS", TypedExtensionConfig.typeURL), ("VHDS", VirtualHost.typeURL),
        ("SDS", Secret.typeURL),
    ]

    static func column(_ typeURL: String) -> String {
        columns.first { $0.typeURL == typeURL }?.name ?? typeURL.split(separator: "/").last.map(String.init) ?? typeURL
    }

    private var proxies: JSON {
        let own = streams.publisher.states.map { Self.row($0) }
        let others = streams.others.flatMap(\.rows)
        return [
            "revision": .integer(streams.publisher.latestRevision), "proxies": .array(own + others),
            // Others name some hundreds of theirs each.
            "unnamed": .integer(Int64(streams.others.reduce(0) { $0 + $1.proxies } - others.count)),
        ]
    }

    private static func row(_ state: SnapshotPublisher.ProxyState) -> JSON {
        [
            "namespace": .string(state.pod.namespace), "pod": .string(state.pod.name),
            "role": state.role == .gateway ? "gateway" : "sidecar",
            "client": .string(state.client.rawValue), "cluster": .string(state.cluster),
            "version": .string(state.version), "protocol": state.isDelta ? "delta" : "state of the world",
            "types": .object(
                Dictionary(
                    state.types.map { (Self.column($0.key), .string($0.value)) },
                    uniquingKeysWith: { first, _ in first })),
            "acknowledged": .integer(state.acknowledgedRevision),
            "refused": .array(state.refusals.map(Self.json)), "traffic": Self.json(state.traffic),
        ]
    }

    /// What other control planes of the same store are told of the proxies here.
    static func report(_ streams: ProxyStreams) -> ServerReport {
        var report = streams.publisher.report(
            row: { state in
                var row = Self.row(state)
                // It changes with every message, and is told by the server that has sent it.
                row["traffic"] = nil
                row["server"] = "another control plane"
                return row
            }, refusal: Self.json)
        report.traffic = traffic(streams)
        return report
    }

    private static func json(_ refusal: SnapshotPublisher.Refusal) -> JSON {
        [
            "pod": .string("\(refusal.pod)"), "type": .string(column(refusal.typeURL)),
            "resource": .string(refusal.resource), "version": .string(refusal.version),
            "lastGood": refusal.lastGood.map { .string($0) } ?? .null, "message": .string(refusal.message),
            "sources": .array(
                refusal.sources.map { source in
                    [
                        "kind": .string(source.kind), "namespace": .string(source.object.namespace),
                        "name": .string(source.object.name), "field": .string(source.field),
                    ]
                }),
        ]
    }

    // MARK: Convergence

    func convergence(_ query: [String: String] = [:]) -> HTTPResponse {
        // What was written a moment ago is known, though not yet sent, when this is answered.
        streams.objectsChanged()
        let revision: Int64
        if let text = query["revision"] {
            guard let number = Int64(text), number >= 0 else {
                return HTTPResponse(status: 400, text: "revision=\(text): not a number\n")
            }
            revision = number
        } else {
            // Of what is written, not of what is translated: that would always be complete by its own measure.
            revision = streams.sourceRevision
        }
        let object = query["kind"].map {
            (kind: $0, name: NamespacedName(namespace: query["namespace"] ?? "", name: query["name"] ?? ""))
        }
        let state = streams.publisher.convergence(revision: revision, of: object)
        let others = streams.others
        let refused = others.flatMap { $0.refusals(of: object) }
        return json([
            "revision": .integer(revision), "translated": .bool(state.isTranslated),
            "proxies": .integer(Int64(others.reduce(state.proxies) { $0 + $1.proxies })),
            "complete": .bool(state.isComplete && refused.isEmpty && others.allSatisfy { $0.hasReached(revision) }),
            "waiting": .array(
                state.waiting.map { .string("\($0)") }
                    + others.flatMap { $0.waiting(for: revision) }.map { .string($0) }),
            "refused": .array(state.refusals.map(Self.json) + refused),
            "servers": .integer(Int64(1 + others.count)),
        ])
    }

    // MARK: Traffic

    private static func json(_ traffic: StreamTraffic) -> JSON {
        [
            "responses": .integer(Int64(traffic.responses)), "responseBytes": .integer(Int64(traffic.responseBytes)),
            "resources": .integer(Int64(traffic.resources)), "requests": .integer(Int64(traffic.requests)),
            "requestBytes": .integer(Int64(traffic.requestBytes)),
        ]
    }

    /// Of all control planes of the store, with their number.
    private var traffic: JSON {
        var sum = ServerReport.total([Self.traffic(streams)] + streams.others.map(\.traffic))
        sum["servers"] = .integer(Int64(1 + streams.others.count))
        // One that does not say so is of an older version.
        sum["silent"] = .integer(Int64(streams.others.count { $0.traffic["proxies"] == nil }))
        return sum
    }

    private static func traffic(_ streams: ProxyStreams) -> JSON {
        let counts = streams.counts
        let publisher = streams.publisher
        return [
            "proxies": .integer(Int64(publisher.streamCount)), "generations": .integer(Int64(publisher.generation)),
            "total": Self.json(publisher.traffic), "changes": Self.json(publisher.changeTraffic),
            "stale_answers": .integer(Int64(publisher.staleAnswers)),
            "refused_streams": .integer(Int64(counts.refusedStreams)),
            "refused_identities": .integer(Int64(counts.refusedIdentities)),
            "ended_with_pod": .integer(Int64(counts.endedWithPod)),
            "violations": .integer(Int64(counts.violations)), "floods": .integer(Int64(counts.floods)),
            "unread": .integer(Int64(counts.unread)),
        ]
    }

    // MARK: Configuration

    private static let kinds = [
        "clusters": Cluster.typeURL, "listeners": Listener.typeURL, "routes": RouteConfiguration.typeURL,
        "endpoints": ClusterLoadAssignment.typeURL,
    ]

    private func config(_ query: [String: String]) -> HTTPResponse {
        guard let typeURL = query["type"].flatMap({ Self.kinds[$0] }) else {
            return HTTPResponse(status: 400, text: "type= must be one of \(Self.kinds.keys.sorted())\n")
        }
        let pod = NamespacedName(namespace: query["namespace"] ?? "default", name: query["pod"] ?? "")
        guard let resources = streams.publisher.resources(of: pod, typeURL: typeURL) else {
            return HTTPResponse(status: 404, text: "no proxy of pod \(pod) is connected\n")
        }
        return json([
            "items": .array(
                resources.map { resource in
                    switch typeURL {
                    case Cluster.typeURL: Self.json(resource, Cluster.self)
                    case Listener.typeURL: Self.json(resource, Listener.self)
                    case RouteConfiguration.typeURL: Self.json(resource, RouteConfiguration.self)
                    default: Self.json(resource, ClusterLoadAssignment.self)
                    }
                })
        ])
    }

    private static func json<M: Message>(_ resource: AnyMessage, _ type: M.Type) -> JSON {
        do throws(MessageError) {
            return try resource.unpack(as: M.self).json(names: .camel)
        } catch {
            return ["error": .string("\(error)")]
        }
    }
}
