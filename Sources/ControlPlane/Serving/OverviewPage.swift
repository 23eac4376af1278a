import APIServer
import HTTP
import KubernetesAPI
import Serialization
import Store

/// Health, figures and a read-only overview, without login on loopback: nothing secret is shown (decision 12).
///
/// `@unchecked Sendable`: used on one loop.
final class OverviewPage: @unchecked Sendable {
    private let registry: ObjectRegistry
    private let streams: ProxyStreams

    init(registry: ObjectRegistry, streams: ProxyStreams) {
        self.registry = registry
        self.streams = streams
    }

    func answer(_ request: HTTPRequest) -> HTTPResponse {
        guard Self.isLocal(request.head.authorityText) else {
            return HTTPResponse(status: 403, text: "this host name is not served here\n")
        }
        switch request.path {
        case "/healthz": return HTTPResponse(status: 200, text: "ok\n")
        case "/metrics":
            return HTTPResponse(
                status: 200, contentType: "text/plain; version=0.0.4", body: Array(metrics.utf8))
        case "/", "/proxies":
            return HTTPResponse(status: 200, contentType: "application/json", body: proxies.bytes)
        default: return HTTPResponse(status: 404, text: "see /healthz, /metrics and /proxies\n")
        }
    }

    /// A page on a foreign name that points here (DNS rebinding) is refused.
    private static func isLocal(_ authority: String) -> Bool {
        ["127.0.0.1", "localhost", "[::1]"].contains { authority == $0 || authority.hasPrefix("\($0):") }
    }

    private var metrics: String {
        var text = """
            # HELP skein_control_proxies Connected proxies.
            # TYPE skein_control_proxies gauge
            skein_control_proxies \(streams.publisher.streamCount)
            # HELP skein_control_proxies_unsettled Proxies that have not acknowledged everything.
            # TYPE skein_control_proxies_unsettled gauge
            skein_control_proxies_unsettled \(streams.publisher.proxies.filter { !$0.isSettled }.count)
            # HELP skein_control_proxies_refusing Proxies that refused their last configuration of some type.
            # TYPE skein_control_proxies_refusing gauge
            skein_control_proxies_refusing \(streams.publisher.proxies.filter { !$0.rejected.isEmpty }.count)
            # HELP skein_control_drain_laggards_total Proxies that did not acknowledge in time that a pod stops.
            # TYPE skein_control_drain_laggards_total counter
            skein_control_drain_laggards_total \(streams.publisher.laggardCount)
            # HELP skein_control_snapshots_total Translations of the mesh.
            # TYPE skein_control_snapshots_total counter
            skein_control_snapshots_total \(streams.publisher.generation)
            # HELP skein_control_objects Objects in the store.
            # TYPE skein_control_objects gauge

            """
        for kind in registry.kinds.all {
            let count = registry.store.list(kind.storeResource, namespace: nil).count
            text += "skein_control_objects{kind=\"\(kind.kind)\"} \(count)\n"
        }
        return text
    }

    private var proxies: JSON {
        [
            "proxies": .array(
                streams.publisher.proxies.map { proxy in
                    [
                        "pod": .string("\(proxy.pod)"), "synced": .bool(proxy.isSettled),
                        "refused": .object(proxy.rejected.mapValues { .string($0) }),
                    ]
                })
        ]
    }
}
