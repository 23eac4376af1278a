import Serialization

// What a DestinationRule cannot say. Bounds that only a proxy has `Mesh/Analysis` knows.
extension Validator {
    /// The rules of DestinationRules.
    mutating func destinationRule(_ object: KubernetesObject) {
        let spec = object.spec
        let host = spec["host"]?.string ?? ""
        if !host.isEmpty { check("spec.host", host, IstioNames.patternProblem) }
        if let policy = spec["trafficPolicy"] { trafficPolicy(policy, "spec.trafficPolicy") }
        for (index, subset) in (spec["subsets"]?.array ?? []).enumerated() {
            let path = "spec.subsets[\(index)]"
            let view = KubernetesObject(json: subset)
            let name = view.string("name")
            if !name.isEmpty { check("\(path).name", name, IstioNames.labelProblem) }
            labels("\(path).labels", view.map("labels"))
            if let policy = subset["trafficPolicy"] { trafficPolicy(policy, "\(path).trafficPolicy") }
        }
    }

    private mutating func trafficPolicy(_ policy: JSON, _ path: String) {
        if policy.object?.isEmpty ?? true { add(.required(path, "at least one field: an empty policy says nothing")) }
        if policy["tunnel"] != nil, policy["proxyProtocol"] != nil {
            add(.forbidden("\(path).proxyProtocol", "tunnel and proxyProtocol exclude each other"))
        }
        if let target = policy["tunnel"]?["targetHost"]?.string, !target.isEmpty, !AddressRange.isAddress(target) {
            check("\(path).tunnel.targetHost", target, IstioNames.hostProblem)
        }
        block(policy, path)
        for (index, entry) in (policy["portLevelSettings"]?.array ?? []).enumerated() {
            let here = "\(path).portLevelSettings[\(index)]"
            number(entry["port"]?["number"], "\(here).port.number")
            if ["loadBalancer", "connectionPool", "outlierDetection", "tls"].allSatisfy({ entry[$0] == nil }) {
                add(.required(here, "loadBalancer, connectionPool, outlierDetection or tls"))
            }
            block(entry, here)
        }
    }

    /// What the whole policy and those of single ports have in common.
    private mutating func block(_ policy: JSON, _ path: String) {
        if let pool = policy["connectionPool"] { connectionPool(pool, "\(path).connectionPool") }
        if let balancer = policy["loadBalancer"] { balancing(balancer, "\(path).loadBalancer") }
        guard let outlier = policy["outlierDetection"] else { return }
        if let failures = outlier["consecutiveLocalOriginFailures"]?.int, failures > 0,
            outlier["splitExternalLocalOriginErrors"]?.bool != true
        {
            add(
                .forbidden(
                    "\(path).outlierDetection.consecutiveLocalOriginFailures",
                    "is counted with splitExternalLocalOriginErrors alone"))
        }
    }

    /// Limits of connections, of DestinationRules and Sidecars.
    mutating func connectionPool(_ pool: JSON, _ path: String) {
        if pool["tcp"] == nil, pool["http"] == nil { add(.required(path, "tcp or http")) }
        if let alive = pool["http"]?["http2KeepAlive"] {
            for name in ["interval", "timeout"] where alive[name] == nil {
                add(.required("\(path).http.http2KeepAlive.\(name)"))
            }
        }
        // -1 would mean no limit nowhere.
        for (part, names) in [
            ("tcp", ["maxConnections"]),
            (
                "http",
                [
                    "http1MaxPendingRequests", "http2MaxRequests", "maxRequestsPerConnection", "maxRetries",
                    "maxConcurrentStreams",
                ]
            ),
        ] {
            for name in names {
                guard let count = pool[part]?[name]?.int, count < 0 else { continue }
                add(.invalid("\(path).\(part).\(name)", String(count), "must be greater than or equal to 0"))
            }
        }
    }

    // MARK: Balancing

    private static let topologyLabels = [
        "topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone",
    ]

    private mutating func balancing(_ balancer: JSON, _ path: String) {
        if let hash = balancer["consistentHash"] {
            if hash["minimumRingSize"]?.int ?? 0 != 0, hash["ringHash"] ?? hash["maglev"] != nil {
                add(.forbidden("\(path).consistentHash.minimumRingSize", "ringHash and maglev have sizes of their own"))
            }
            var names: Set<String> = []
            for (index, entry) in (hash["httpCookie"]?["attributes"]?.array ?? []).enumerated() {
                let here = "\(path).consistentHash.httpCookie.attributes[\(index)].name"
                let name = entry["name"]?.string ?? ""
                if name.isEmpty {
                    add(.required(here))
                } else if !names.insert(name).inserted {
                    add(.duplicate(here, "\"\(name)\""))
                }
            }
        }
        if balancer["localityLbSetting"] != nil, balancer["zoneAwareLbSetting"] != nil {
            add(
                .forbidden(
                    "\(path).zoneAwareLbSetting", "localityLbSetting and zoneAwareLbSetting exclude each other"))
        }
        if let setting = balancer["localityLbSetting"] { locality(setting, "\(path).localityLbSetting") }
        if let setting = balancer["zoneAwareLbSetting"] {
            let place = "\(path).zoneAwareLbSetting"
            for (index, name) in KubernetesObject(json: setting).strings("failoverPriority").enumerated()
            where Self.topologyLabels.contains(name) {
                add(
                    .forbidden(
                        "\(place).failoverPriority[\(index)]",
                        "regions are told apart by themselves here: failover says in which order"))
            }
            failover(setting, place)
        }
    }

    private mutating func failover(_ setting: JSON, _ path: String) {
        for (index, entry) in (setting["failover"]?.array ?? []).enumerated() {
            let view = KubernetesObject(json: entry)
            for name in ["from", "to"] where view.string(name).contains(where: { $0 == "/" || $0 == "*" }) {
                add(
                    .invalid(
                        "\(path).failover[\(index)].\(name)", text: view.string(name),
                        "must be a region, without zones and wildcards"))
            }
            // `Mesh/Analysis` says the same of localityLbSetting.
            if path.hasSuffix("zoneAwareLbSetting"), view.string("from") == view.string("to") {
                add(
                    .invalid(
                        "\(path).failover[\(index)].to", text: view.string("to"), "must be another region than from"))
            }
        }
    }

    private mutating func locality(_ setting: JSON, _ path: String) {
        failover(setting, path)
        let distribute = setting["distribute"]?.array ?? []
        localities(distribute.map { $0["from"]?.string ?? "" }) { index, _ in "\(path).distribute[\(index)].from" }
        for (index, entry) in distribute.enumerated() {
            let shares = (entry["to"]?.object ?? [:]).sorted { $0.key < $1.key }
            for (place, share) in shares where !(1...100).contains(share.int ?? 0) {
                add(
                    .invalid(
                        "\(path).distribute[\(index)].to[\(place)]", Self.short(share),
                        "must be between 1 and 100, inclusive"))
            }
            localities(shares.map(\.key)) { _, place in "\(path).distribute[\(index)].to[\(place)]" }
        }
    }

    /// `REGION/ZONE/SUBZONE`, the last part of which may be `*`; none may lie in another.
    private mutating func localities(_ all: [String], _ path: (_ index: Int, _ text: String) -> String) {
        var earlier: [(text: String, parts: [Substring])] = []
        for (index, text) in all.enumerated() {
            let parts = text.split(separator: "/", maxSplits: 2, omittingEmptySubsequences: false)
            if parts.contains(where: \.isEmpty) || text.dropLast().contains("*") {
                add(.invalid(path(index, text), text: text, "must be REGION/ZONE/SUBZONE; the last part may be *"))
                continue
            }
            // What ends with `*` is as wide as what ends before.
            let area = parts.last == "*" ? Array(parts.dropLast()) : parts
            if let other = earlier.first(where: { area.starts(with: $0.parts) || $0.parts.starts(with: area) }) {
                add(.invalid(path(index, text), text: text, "lies in \(other.text), or the other way round"))
            }
            earlier.append((text, area))
        }
    }

    // MARK: exportTo

    /// The namespaces that see a VirtualService, DestinationRule or ServiceEntry.
    mutating func exports(_ object: KubernetesObject) {
        let names = KubernetesObject(json: object.spec).strings("exportTo")
        var meant: Set<String> = []
        for (index, name) in names.enumerated() {
            let path = "spec.exportTo[\(index)]"
            if name == "~" {
                if object.kind != "ServiceEntry" {
                    add(.invalid(path, text: name, "only a ServiceEntry can be for nobody"))
                }
            } else if name != ".", name != "*", !IstioNames.isLabel(name) {
                add(.invalid(path, text: name, "must be the name of a namespace, \".\" or \"*\""))
            }
            if !meant.insert(name == "." ? object.namespace : name).inserted {
                add(.duplicate(path, "\"\(name)\""))
            }
        }
        for all in ["*", "~"] where names.count > 1 && names.contains(all) {
            add(.forbidden("spec.exportTo", "beside \"\(all)\" no namespace can stand"))
        }
        if object.kind == "DestinationRule", object.spec["workloadSelector"] != nil, !meant.isEmpty,
            meant != [object.namespace]
        {
            add(.forbidden("spec.exportTo", "a rule with a workloadSelector is for its own namespace alone"))
        }
    }
}
