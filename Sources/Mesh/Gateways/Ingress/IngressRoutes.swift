import EnvoyAPI
import KubernetesAPI

/// The virtual hosts that all Ingresses together ask for (I-1, I-2).
struct IngressRoutes {
    let model: MeshModel

    /// The routes of one host.
    struct Host {
        /// The host as written; `*` for rules without one.
        var name: String
        var routes: [Route]
        var place: Provenance
    }

    /// One path of one rule.
    private struct Path {
        var path: String
        var isExact: Bool
        var backend: IngressBackend
        var namespace: String
        var place: Provenance
    }

    func hosts() -> [Host] {
        var order: [String] = []
        var paths: [String: [Path]] = [:]
        var defaults: [String: Path] = [:]
        for object in model.servedIngresses {
            let ingress = Ingress(json: object.json)
            let key = NamespacedName(namespace: object.namespace, name: object.name)
            var mine: Set<String> = []
            for (index, rule) in ingress.spec.rules.enumerated() {
                let host = rule.host.isEmpty ? "*" : rule.host.lowercased()
                if !order.contains(host) { order.append(host) }
                mine.insert(host)
                for (position, path) in rule.http.paths.enumerated() {
                    let place = Provenance(
                        kind: "Ingress", object: key, field: "spec.rules[\(index)].http.paths[\(position)]")
                    paths[host, default: []].append(
                        Path(
                            path: path.path.isEmpty ? "/" : path.path, isExact: path.pathType == "Exact",
                            backend: path.backend, namespace: object.namespace, place: place))
                }
            }
            guard let backend = ingress.spec.defaultBackend else { continue }
            // What matches no rule goes to the default backend: on the hosts of this Ingress and on any other.
            let place = Provenance(kind: "Ingress", object: key, field: "spec.defaultBackend")
            let path = Path(path: "/", isExact: false, backend: backend, namespace: object.namespace, place: place)
            if !order.contains("*") { order.append("*") }
            for host in mine.union(["*"]) where defaults[host] == nil { defaults[host] = path }
        }
        return order.compactMap { name in
            let sorted = Self.sorted(paths[name] ?? []) + [defaults[name]].compactMap { $0 }
            guard let place = sorted.first?.place else { return nil }
            return Host(name: name, routes: sorted.flatMap { routes($0, host: name) }, place: place)
        }
    }

    /// I-1: the longest path first, Exact before Prefix of equal length; otherwise the older Ingress first.
    private static func sorted(_ paths: [Path]) -> [Path] {
        paths.enumerated().sorted { left, right in
            let (a, b) = (left.element, right.element)
            let (lengthA, lengthB) = (length(a), length(b))
            if lengthA != lengthB { return lengthA > lengthB }
            if a.isExact != b.isExact { return a.isExact }
            return left.offset < right.offset
        }.map(\.element)
    }

    private static func length(_ path: Path) -> Int {
        path.isExact ? path.path.utf8.count : trimmed(path.path).utf8.count
    }

    /// I-1: a trailing slash of a Prefix means nothing.
    private static func trimmed(_ path: String) -> String {
        var path = Substring(path)
        while path.count > 1 && path.hasSuffix("/") { path = path.dropLast() }
        return String(path)
    }

    private func routes(_ path: Path, host: String) -> [Route] {
        var match = RouteMatch()
        let prefix = Self.trimmed(path.path)
        if path.isExact {
            match.pathSpecifier = .path(path.path)
        } else if prefix == "/" {
            match.pathSpecifier = .prefix("/")
        } else {
            match.pathSpecifier = .pathSeparatedPrefix(prefix)
        }
        if host.hasPrefix("*.") {
            // I-2: the wildcard of an Ingress is exactly one label; that of a virtual host is one or more.
            let expression = "[^.]+" + RegexText.quoted(String(host.dropFirst())) + "(:[0-9]+)?"
            match.headers = [Matches.header(":authority", regex: expression)]
        }
        var route = Route()
        route.name = path.place.object.description
        route.match = match
        route.metadata = path.place.metadata
        var action = RouteAction()
        action.clusterSpecifier = .cluster(clusterName(path))
        action.timeout = .zero
        return RuleRoutes.expand(route, action, RetryPolicies.outbound(nil, config: model.config))
    }

    private func clusterName(_ path: Path) -> String {
        let key = NamespacedName(namespace: path.namespace, name: path.backend.service?.name ?? "")
        let host = HostName.ofService(key)
        let service = model.service(host: host)
        let named = service?.ports.first { $0.name == path.backend.service?.port.name && !$0.name.isEmpty }
        let port = path.backend.service?.port.number ?? named?.number ?? 0
        return Destinations.clusterName(host: service?.host ?? host, port: port)
    }
}
