internal import Serialization

/// Configuration of proxies as tables, with the columns of istioctl.
enum ProxyTables {
    /// Short names of kinds.
    static let kinds = [
        "cluster": "clusters", "c": "clusters", "listener": "listeners", "l": "listeners", "route": "routes",
        "r": "routes", "endpoint": "endpoints", "ep": "endpoints", "secrets": "secret", "s": "secret",
        "b": "bootstrap", "lg": "log",
    ]

    private static let types = ["CDS", "LDS", "EDS", "RDS", "ECDS"]

    static func status(_ proxies: [JSON], revision: Int) -> TextTable {
        TextTable(
            header: ["NAME", "CLUSTER"] + types + ["ISTIOD", "VERSION", "CLIENT", "ACKNOWLEDGED"],
            rows: proxies.map { proxy in
                func text(_ member: String) -> String { proxy[member]?.string ?? "" }
                let acknowledged = proxy["acknowledged"]?.int ?? 0
                return ["\(text("pod")).\(text("namespace"))", "Kubernetes"]
                    + types.map { proxy["types"]?[$0]?.string ?? "IGNORED" }
                    + [
                        "skein", text("version"), text("client"),
                        acknowledged >= revision ? "\(acknowledged)" : "\(acknowledged) of \(revision)",
                    ]
            })
    }

    /// A refused resource with where it comes from.
    static func text(_ refusal: JSON) -> String {
        func text(_ member: String) -> String { refusal[member]?.string ?? "" }
        var lines = ["\(text("pod")) refuses \(text("type")) \(text("resource")): \(text("message"))"]
        lines.append(refusal["lastGood"]?.string == nil ? "  it has none" : "  it keeps the last good version")
        for source in refusal["sources"]?.array ?? [] {
            let (kind, namespace) = (source["kind"]?.string ?? "", source["namespace"]?.string ?? "")
            lines.append(
                "  from \(kind) \(namespace)/\(source["name"]?.string ?? ""), \(source["field"]?.string ?? "")")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    static func table(_ kind: String, _ items: [JSON]) -> TextTable {
        switch kind {
        case "clusters": clusters(items)
        case "listeners": listeners(items)
        case "routes": routes(items)
        default: endpoints(items)
        }
    }

    private static func clusters(_ items: [JSON]) -> TextTable {
        TextTable(
            header: ["SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "MADE BY"],
            rows: items.map { cluster in
                let name = cluster["name"]?.string ?? ""
                let parts = name.split(separator: "|", omittingEmptySubsequences: false).map(String.init)
                let type = cluster["type"]?.string ?? cluster["clusterType"]?["name"]?.string ?? "STATIC"
                let named = parts.count == 4
                return [
                    named && !parts[3].isEmpty ? parts[3] : named ? "" : name, named ? parts[1] : "-",
                    named && !parts[2].isEmpty ? parts[2] : "-", named ? parts[0] : "-", type, place(cluster),
                ]
            })
    }

    private static func listeners(_ items: [JSON]) -> TextTable {
        var rows: [[String]] = []
        for listener in items {
            let socket = listener["address"]?["socketAddress"]
            let (address, port) = (socket?["address"]?.string ?? "", socket?["portValue"]?.int ?? 0)
            let chains = listener["filterChains"]?.array ?? []
            for chain in chains + (listener["defaultFilterChain"].map { [$0] } ?? []) {
                rows.append([address, "\(port)", match(chain), destination(chain), place(chain)])
            }
        }
        return TextTable(header: ["ADDRESSES", "PORT", "MATCH", "DESTINATION", "MADE BY"], rows: rows)
    }

    private static func match(_ chain: JSON) -> String {
        guard let match = chain["filterChainMatch"] else { return "ALL" }
        var parts: [String] = []
        if let transport = match["transportProtocol"]?.string, !transport.isEmpty {
            parts.append("Trans: \(transport)")
        }
        let protocols = (match["applicationProtocols"]?.array ?? []).compactMap(\.string)
        if !protocols.isEmpty { parts.append("App: \(protocols.joined(separator: ","))") }
        let names = (match["serverNames"]?.array ?? []).compactMap(\.string)
        if !names.isEmpty { parts.append("SNI: \(names.joined(separator: ","))") }
        let ranges = (match["prefixRanges"]?.array ?? []).compactMap { range in
            range["addressPrefix"]?.string.map { "\($0)/\(range["prefixLen"]?.int ?? 0)" }
        }
        let port = match["destinationPort"]?.int.map { ":\($0)" } ?? ""
        if !ranges.isEmpty || !port.isEmpty {
            parts.append("Addr: \(ranges.isEmpty ? "*" : ranges.joined(separator: ","))\(port)")
        }
        return parts.isEmpty ? "ALL" : parts.joined(separator: "; ")
    }

    private static func destination(_ chain: JSON) -> String {
        for filter in chain["filters"]?.array ?? [] {
            guard let config = filter["typedConfig"] else { continue }
            if let route = config["rds"]?["routeConfigName"]?.string { return "Route: \(route)" }
            if let inline = config["routeConfig"]?["name"]?.string { return "Inline Route: \(inline)" }
            if let cluster = config["cluster"]?.string { return "Cluster: \(cluster)" }
            if let clusters = config["weightedClusters"]?["clusters"]?.array {
                return "Clusters: " + clusters.compactMap { $0["name"]?.string }.joined(separator: ",")
            }
        }
        return "-"
    }

    private static func routes(_ items: [JSON]) -> TextTable {
        var rows: [[String]] = []
        for configuration in items {
            for host in configuration["virtualHosts"]?.array ?? [] {
                let domains = (host["domains"]?.array ?? []).compactMap(\.string)
                let shown =
                    domains.prefix(2).joined(separator: ", ")
                    + (domains.count > 2 ? " + \(domains.count - 2) more" : "")
                for route in host["routes"]?.array ?? [] {
                    rows.append([
                        configuration["name"]?.string ?? "", host["name"]?.string ?? "", shown, path(route),
                        made(route, host),
                    ])
                }
            }
        }
        return TextTable(header: ["NAME", "VHOST NAME", "DOMAINS", "MATCH", "MADE BY"], rows: rows)
    }

    private static func path(_ route: JSON) -> String {
        let match = route["match"]
        if let path = match?["path"]?.string { return path }
        if let prefix = match?["prefix"]?.string { return prefix.isEmpty || prefix == "/" ? "/*" : prefix + "*" }
        if let prefix = match?["pathSeparatedPrefix"]?.string { return prefix + "/*" }
        if let regex = match?["safeRegex"]?["regex"]?.string { return "regex " + regex }
        return "-"
    }

    private static func endpoints(_ items: [JSON]) -> TextTable {
        var rows: [[String]] = []
        for assignment in items {
            let cluster = assignment["clusterName"]?.string ?? ""
            for locality in assignment["endpoints"]?.array ?? [] {
                for endpoint in locality["lbEndpoints"]?.array ?? [] {
                    let socket = endpoint["endpoint"]?["address"]?["socketAddress"]
                    let port = socket?["portValue"]?.int ?? 0
                    rows.append([
                        "\(socket?["address"]?.string ?? "-"):\(port)",
                        endpoint["healthStatus"]?.string ?? "HEALTHY", "\(locality["priority"]?.int ?? 0)", cluster,
                        place(endpoint),
                    ])
                }
            }
        }
        return TextTable(header: ["ENDPOINT", "STATUS", "PRIORITY", "CLUSTER", "MADE BY"], rows: rows)
    }

    private static func made(_ route: JSON, _ host: JSON) -> String {
        let own = place(route)
        return own == "-" ? place(host) : own
    }

    /// The object and field behind a piece of configuration.
    private static func place(_ json: JSON) -> String {
        guard let source = json["metadata"]?["filterMetadata"]?["skein.provenance"] else { return "-" }
        func text(_ member: String) -> String { source[member]?.string ?? "" }
        return "\(text("kind")) \(text("namespace"))/\(text("name")) \(text("field"))"
    }
}

extension TextTable {
    /// The rows that have a value in a column.
    func keeping(_ column: String, _ value: String) -> TextTable {
        guard let index = header.firstIndex(of: column) else { return self }
        return TextTable(header: header, rows: rows.filter { $0.indices.contains(index) && $0[index] == value })
    }
}
