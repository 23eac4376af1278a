import KubernetesAPI
import Serialization

/// Which routes of a VirtualService no request can reach, as far as other objects tell.
struct RuleReach {
    let tables: AnalysisTables
    let rule: MeshModel.Rule
    private var model: MeshModel { tables.model }

    func diagnostics() -> [Diagnostic] {
        var found = hosts()
        var earlier = EarlierConditions()
        for (index, route) in rule.http.enumerated() {
            var covered: [Diagnostic] = []
            for (position, match) in route.match.enumerated() {
                let place = "spec.http[\(index)].match[\(position)]"
                if let by = earlier.cover(match), model.config.warnsOfConflicts {
                    covered.append(
                        finding(.matchCovered, place, "\(by) before it takes every such request (H-2)"))
                } else if rule.setAside[index] == nil {
                    earlier.add(match, place)
                }
                found += conditions(
                    place, port: match.port, labels: match.sourceLabels, namespace: match.sourceNamespace,
                    gateways: match.gateways)
            }
            found += reached(covered, of: route.match.count, "spec.http[\(index)]")
        }
        for (name, routes) in [("tls", rule.tls.map(\.match)), ("tcp", rule.tcp.map(\.match))] {
            var seen: [JSON: String] = [:]
            var all: Int?
            for (index, matches) in routes.enumerated() {
                if let all, model.config.warnsOfConflicts {
                    found.append(
                        finding(
                            .routeNeverReached, "spec.\(name)[\(index)]",
                            "never reached: spec.\(name)[\(all)] takes every connection before it"))
                }
                if matches.isEmpty { all = all ?? index }
                var covered: [Diagnostic] = []
                for (position, match) in matches.enumerated() {
                    let place = "spec.\(name)[\(index)].match[\(position)]"
                    if let first = seen[match.json], model.config.warnsOfConflicts {
                        covered.append(
                            finding(.matchCovered, place, "\(first) before it takes every such connection"))
                    } else {
                        seen[match.json] = place
                    }
                    found += conditions(
                        place, port: match.port, labels: match.sourceLabels, namespace: match.sourceNamespace,
                        gateways: match.gateways)
                }
                // Behind a route without conditions that is said of the whole route already.
                found += reached(covered, of: all == nil ? matches.count : 0, "spec.\(name)[\(index)]")
            }
        }
        return found + inside()
    }

    /// What is covered of a route's conditions; with all of them the route itself.
    private func reached(_ covered: [Diagnostic], of count: Int, _ route: String) -> [Diagnostic] {
        guard let first = covered.first, covered.count == count else { return covered }
        let more = count == 1 ? "" : ", and so are its other conditions"
        return [finding(.routeNeverReached, route, "never reached: \(first.message)\(more)")]
    }

    /// Whether a route does no more than send everything to one service.
    private static func isPlain(_ route: VirtualService.HTTPRoute) -> Bool {
        let members = (route.json.object ?? [:]).filter { !["name", "route"].contains($0.key) && !$0.value.isNull }
        return members.isEmpty && route.route.count == 1 && route.route.allSatisfy { $0.subset.isEmpty }
    }

    /// Routes of a gateway to hosts whose own rules are for callers inside of the mesh.
    private func inside() -> [Diagnostic] {
        if isForMesh || rule.gateways.isEmpty { return [] }
        var found: [Diagnostic] = []
        for (index, route) in rule.http.enumerated() {
            for (position, destination) in route.route.enumerated() where destination.subset.isEmpty {
                let host = HostName.expanded(destination.host, ruleNamespace: rule.key.namespace)
                guard
                    let other = tables.meshRules(host).first(where: {
                        $0.key != rule.key && !$0.http.allSatisfy(Self.isPlain)
                            && $0.gateways.isDisjoint(with: rule.gateways)
                    })
                else { continue }
                found.append(
                    finding(
                        .rulesInsideOnly, "spec.http[\(index)].route[\(position)].destination.host",
                        "the routes of VirtualService \(other.key) for \"\(host)\" count for callers inside of the mesh, not "
                            + "for what the gateway sends there"))
            }
        }
        return found
    }

    private func finding(_ code: DiagnosticCode, _ field: String, _ message: String) -> Diagnostic {
        Diagnostic(code, kind: "VirtualService", object: rule.key, field: field, message: message)
    }

    private var isForMesh: Bool { rule.gateways.contains(Mesh.meshGateway) }
    private var entrances: [MeshModel.Entrance] { rule.gateways.sorted().compactMap { tables.entrances[$0] } }

    /// Whether the Gateways serve the hosts, and whether they are services where the rule is for sidecars.
    private func hosts() -> [Diagnostic] {
        var found: [Diagnostic] = []
        let named = entrances
        let isWhole = named.count == rule.gateways.subtracting([Mesh.meshGateway]).count
        for (index, host) in rule.hosts.enumerated() {
            let field = "spec.hosts[\(index)]"
            if isWhole, !named.isEmpty, !host.dropFirst().contains("*"), !named.contains(where: { serves($0, host) }) {
                found.append(
                    finding(
                        .hostNotInGateway, field,
                        "no server of \(named.map { "Gateway \($0.key)" }.joined(separator: ", ")) has host \"\(host)\""
                    ))
            }
            if isForMesh, host != "*", !HostName.isWildcard(host), !model.hasService(host: host) {
                found.append(
                    finding(
                        .ruleHostWithoutService, field,
                        "no service \"\(host)\": the rule counts for requests with that host only, which the cluster's DNS "
                            + "does not lead anywhere"))
            }
        }
        return found
    }

    private func serves(_ entrance: MeshModel.Entrance, _ host: String) -> Bool {
        entrance.gateway.servers.contains { server in
            tables.count(server.hosts.count)
            return server.hosts.contains { written in
                let parts = written.split(separator: "/", maxSplits: 1).map(String.init)
                let name = (parts.last ?? written).lowercased()
                if parts.count == 2, let namespace = parts.first, namespace != "*" {
                    let owner = namespace == "." ? entrance.key.namespace : namespace
                    if owner != rule.key.namespace { return false }
                }
                return HostName.intersection(name, host) != nil
            }
        }
    }

    /// The ports on which requests of the rule arrive; nil when not all are known.
    private var ports: Set<Int>? {
        var ports = Set(entrances.flatMap { $0.gateway.servers.compactMap(\.port) })
        guard entrances.count == rule.gateways.subtracting([Mesh.meshGateway]).count else { return nil }
        if isForMesh {
            for host in rule.hosts {
                guard let services = tables.servicesByHost[host] else { return nil }
                ports.formUnion(services.flatMap { $0.ports.map(\.number) })
            }
        }
        return ports.isEmpty ? nil : ports
    }

    private func conditions(
        _ place: String, port: Int?, labels: [String: String], namespace: String, gateways: [String]
    ) -> [Diagnostic] {
        var found: [Diagnostic] = []
        if let port, let ports, !ports.contains(port), (1...65535).contains(port) {
            found.append(
                finding(
                    .matchPortUnknown, "\(place).port",
                    "\(port) is none of the ports \(ports.sorted().map(String.init).joined(separator: ", ")) on which such "
                        + "requests arrive"))
        }
        guard isForMesh, gateways.isEmpty, !labels.isEmpty || !namespace.isEmpty else { return found }
        if !tables.hasPod(in: namespace.isEmpty ? nil : namespace, with: labels) {
            found.append(
                finding(
                    .sourceWithoutWorkload, labels.isEmpty ? "\(place).sourceNamespace" : "\(place).sourceLabels",
                    namespace.isEmpty
                        ? "no pod has these labels" : "no pod of namespace \(namespace) is such a caller"))
        }
        return found
    }
}

/// The conditions that stand before one, as far as they can be compared without trying all pairs: the same ones, and
/// those that look at the path alone.
struct EarlierConditions {
    /// Places by path, of conditions that agree in everything else.
    private struct Paths {
        var prefixes: [String: String] = [:]
        var exacts: [String: String] = [:]
    }

    private var same: [JSON: String] = [:]
    /// By what a condition asks for beside the path.
    private var paths: [JSON: Paths] = [:]

    /// What makes two conditions alike.
    private func essence(_ match: VirtualService.HTTPMatchRequest) -> JSON {
        var members = match.json.object ?? [:]
        members["name"] = nil
        members["statPrefix"] = nil
        return .object(members)
    }

    /// What a condition asks for beside the path.
    private func rest(_ match: VirtualService.HTTPMatchRequest) -> JSON {
        let others = (match.json.object ?? [:]).filter {
            !$0.value.isNull && !["uri", "name", "statPrefix"].contains($0.key)
        }
        return .object(others)
    }

    /// Where a condition stands that takes everything that this one takes.
    func cover(_ match: VirtualService.HTTPMatchRequest) -> String? {
        if let place = same[essence(match)] { return place }
        guard !match.ignoreUriCase else { return nil }
        // A condition that looks at the path alone takes more than one that looks at something else, too.
        let rest = rest(match)
        let isBare = rest.object?.isEmpty ?? true
        let tables = [paths[.object([:])], isBare ? nil : paths[rest]].compactMap { $0 }
        return tables.lazy.compactMap { paths in
            switch match.uri {
            case .exact(let path): paths.exacts[path] ?? Self.prefix(of: path, in: paths.prefixes)
            case .prefix(let path): Self.prefix(of: path, in: paths.prefixes)
            default: nil
            }
        }.first
    }

    private static func prefix(of path: String, in prefixes: [String: String]) -> String? {
        guard !prefixes.isEmpty else { return nil }
        var part = ""
        if let place = prefixes[part] { return place }
        for character in path.prefix(pathMax) {
            part.append(character)
            if let place = prefixes[part] { return place }
        }
        return nil
    }

    /// Longer paths are compared up to here.
    static let pathMax = 1024

    mutating func add(_ match: VirtualService.HTTPMatchRequest, _ place: String) {
        same[essence(match)] = same[essence(match)] ?? place
        // Conditions that take every path are `routeNeverReached`'s.
        guard !match.ignoreUriCase else { return }
        let rest = rest(match)
        switch match.uri {
        case .exact(let path): paths[rest, default: Paths()].exacts[path] = paths[rest]?.exacts[path] ?? place
        case .prefix(let path) where path != "/" && !path.isEmpty:
            paths[rest, default: Paths()].prefixes[path] = paths[rest]?.prefixes[path] ?? place
        default: break
        }
    }
}
