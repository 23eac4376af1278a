import EnvoyAPI
import KubernetesAPI
import Serialization

/// The services that a gateway needs: those whose clusters its listeners and routes name (as Istio's `PILOT_FILTER_GATEWAY_CLUSTER_CONFIG`).
///
/// A sidecar asks for what it uses, a gateway is told everything before the first request: without this it would hold, and hear of each change of,
/// all services of the mesh.
struct GatewayNeeds: Sendable {
    /// What they were found in.
    let layer: MeshLayer
    /// The services' hosts; `nil`: every one, since something chooses clusters by what a request says.
    let hosts: Set<String>?

    /// Looks through what is the gateway's own, as EnvoyFilters leave it.
    ///
    /// - Parameter isPatched: EnvoyFilters may have had a hand in it.
    init(_ layer: MeshLayer, isPatched: Bool) {
        self.layer = layer
        var hosts: Set<String> = []
        for table in [layer.clusters, layer.listeners, layer.routes] {
            for resource in table.values {
                for name in ClusterReferences.names(in: resource.message.value) {
                    guard let host = ClusterReferences.host(of: name) else { continue }
                    hosts.insert(host)
                }
            }
        }
        self.hosts = isPatched && Self.choosesFreely(layer) ? nil : hosts
    }

    /// Whether a route takes the cluster's name from somewhere else than the configuration; we write no such route.
    private static func choosesFreely(_ layer: MeshLayer) -> Bool {
        layer.routes.values.contains { resource in
            // What we encoded can be decoded.
            guard let routes = try? resource.message.unpack(as: RouteConfiguration.self) else { return true }
            return !routes.clusterSpecifierPlugins.isEmpty
                || routes.virtualHosts.contains { host in
                    host.matcher != nil || host.routes.contains { choosesFreely($0) }
                }
        }
    }

    private static func choosesFreely(_ route: Route) -> Bool {
        guard case .route(let action) = route.action else { return false }
        switch action.clusterSpecifier {
        case .cluster, nil: return false
        case .weightedClusters(let weighted): return weighted.clusters.contains { !$0.clusterHeader.isEmpty }
        default: return true
        }
    }
}

/// The names of services' clusters, wherever they stand in encoded messages: in fields of their own, or within a text such as a script.
public enum ClusterReferences {
    /// How the names of clusters of services begin.
    public static let prefix = "outbound|"

    /// All that stand in an encoded message.
    ///
    /// Whether one is a field or stands within a text cannot be seen, so that both readings are in the answer: up to the field's length,
    /// and as far as a name may go on. Not all are names of clusters that exist.
    public static func names(in bytes: [UInt8]) -> Set<String> {
        let prefix = Array(Self.prefix.utf8)
        var found: Set<String> = []
        bytes.withUnsafeBufferPointer { bytes in
            var index = 0
            while index + prefix.count <= bytes.count {
                guard bytes[index] == prefix[0], bytes[index..<(index + prefix.count)].elementsEqual(prefix) else {
                    index += 1
                    continue
                }
                let rest = bytes[index...].prefix { isPart($0) }
                let length = index > 0 ? self.length(before: index, bytes) : 0
                found.insert(String(decoding: rest, as: UTF8.self))
                if length >= prefix.count, length < rest.count {
                    found.insert(String(decoding: rest.prefix(length), as: UTF8.self))
                }
                index += prefix.count
            }
        }
        return found
    }

    /// The host of a service's cluster, `outbound|PORT|SUBSET|HOST`; `nil` when it is no such name.
    public static func host(of name: String) -> String? {
        let parts = name.split(separator: "|", omittingEmptySubsequences: false)
        guard parts.count == 4, !parts[3].isEmpty else { return nil }
        return String(parts[3])
    }

    /// A delimited field says its length in one or two bytes before it.
    private static func length(before index: Int, _ bytes: UnsafeBufferPointer<UInt8>) -> Int {
        let last = Int(bytes[index - 1])
        guard last < 0x80, index > 1, bytes[index - 2] >= 0x80, last < 2 else { return last }
        return last << 7 | Int(bytes[index - 2] & 0x7F)
    }

    private static func isPart(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"),
            UInt8(ascii: "|"), UInt8(ascii: "*"):
            true
        default: false
        }
    }
}
