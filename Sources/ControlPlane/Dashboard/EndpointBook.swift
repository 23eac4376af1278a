import Mesh
public import Serialization

/// What proxies say of the endpoints of one host on their pages `/clusters`, put together.
///
/// Pure: pages in, JSON out.
public struct EndpointBook: Sendable {
    private struct Seen: Sendable {
        var ip = ""
        var requests = 0.0
        var connections = 0.0
        var total = 0.0
        var errors = 0.0
        var callers = 0
        var ejected = 0
        var unhealthy = 0
        var clusters: Set<String> = []
    }

    private let host: String
    private var byAddress: [String: Seen] = [:]
    /// Proxies that know the host.
    public private(set) var callers = 0

    /// Nothing yet of a host: `reviews.default.svc.cluster.local`.
    public init(host: String) { self.host = host }

    /// Takes one proxy's page `/clusters?format=json`; what is not of its form is left out.
    public mutating func add(_ page: JSON) {
        var isCaller = false
        for cluster in page["cluster_statuses"]?.array ?? [] {
            let name = ClusterName(cluster["name"]?.string ?? "")
            guard name.direction == "outbound", name.host == host else { continue }
            isCaller = true
            for status in cluster["host_statuses"]?.array ?? [] {
                guard let socket = status["address"]?["socket_address"], let ip = socket["address"]?.string,
                    let port = socket["port_value"]?.int
                else { continue }
                var seen = byAddress["\(ip):\(port)"] ?? Seen()
                seen.ip = ip
                seen.callers += 1
                seen.clusters.insert("\(name.port)\(name.subset.isEmpty ? "" : " \(name.subset)")")
                for metric in status["stats"]?.array ?? [] {
                    let value = metric["value"]?.double ?? metric["value"]?.string.flatMap { Double($0) } ?? 0
                    switch metric["name"]?.string {
                    case "rq_active": seen.requests += value
                    case "cx_active": seen.connections += value
                    case "rq_total": seen.total += value
                    case "rq_error": seen.errors += value
                    default: break
                    }
                }
                let health = status["health_status"]
                if health?["failed_outlier_check"]?.bool == true { seen.ejected += 1 }
                let eds = health?["eds_health_status"]?.string
                if health?["failed_active_health_check"]?.bool == true || (eds != nil && eds != "HEALTHY") {
                    seen.unhealthy += 1
                }
                byAddress["\(ip):\(port)"] = seen
            }
        }
        if isCaller { callers += 1 }
    }

    /// An object for each address, in the order of addresses: requests and connections now, requests and errors so far, and how many of `views` (clusters of proxies) have it ejected or
    /// unhealthy.
    public var json: JSON {
        .array(
            byAddress.sorted { $0.key < $1.key }.map { address, seen in
                [
                    "address": .string(address), "ip": .string(seen.ip), "activeRequests": .number(seen.requests),
                    "activeConnections": .number(seen.connections), "requests": .number(seen.total),
                    "errors": .number(seen.errors), "views": .integer(Int64(seen.callers)),
                    "ejected": .integer(Int64(seen.ejected)), "unhealthy": .integer(Int64(seen.unhealthy)),
                    "clusters": .array(seen.clusters.sorted().map { .string($0) }),
                ]
            })
    }
}
