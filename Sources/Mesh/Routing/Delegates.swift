import KubernetesAPI
import Serialization

/// Where an HTTP route of a rule is written: after delegation in another object than the rule.
struct RoutePlace: Sendable, Hashable {
    var object: NamespacedName
    /// `spec.http[2]`.
    var field: String
    /// The field of each entry of `match`.
    var matches: [String]

    init(object: NamespacedName, index: Int, matches: Int) {
        self.object = object
        field = "spec.http[\(index)]"
        self.matches = (0..<matches).map { "spec.http[\(index)].match[\($0)]" }
    }
}

/// Routes that are written in another VirtualService (H-18).
enum Delegates {
    /// Why a delegation gives fewer routes than are written.
    struct Loss: Hashable {
        /// The object to tell.
        var object: NamespacedName
        var field: String
        var message: String
    }

    /// The VirtualServices that a rule delegates to, as its object says.
    static func names(_ rule: MeshModel.Rule) -> [NamespacedName] {
        rule.rule.http.compactMap { route in route.delegate.map { name($0, rule) } }
    }

    private static func name(_ written: (name: String, namespace: String), _ rule: MeshModel.Rule) -> NamespacedName {
        NamespacedName(
            namespace: written.namespace.isEmpty ? rule.key.namespace : written.namespace, name: written.name)
    }

    /// The rule with the routes of its delegates in place; `written` gives a rule as its object says.
    static func resolved(_ rule: MeshModel.Rule, _ written: (NamespacedName) -> MeshModel.Rule?) -> MeshModel.Rule {
        guard hasDelegates(rule), !rule.hosts.isEmpty else { return rule }
        var rule = rule
        let (http, places, _) = merged(rule, written)
        rule.http = http
        rule.places = places
        rule.setAside = RouteCheck.problems(rule)
        return rule
    }

    /// What is lost in the delegations of these rules, as their objects say.
    static func losses(
        _ rules: [MeshModel.Rule], _ written: (NamespacedName) -> MeshModel.Rule?
    ) -> [Loss] {
        rules.filter { hasDelegates($0) && !$0.hosts.isEmpty }.flatMap { merged($0, written).losses }
    }

    private static func hasDelegates(_ rule: MeshModel.Rule) -> Bool {
        rule.http.contains { $0.delegate != nil }
    }

    private static func merged(
        _ rule: MeshModel.Rule, _ written: (NamespacedName) -> MeshModel.Rule?
    ) -> (http: [VirtualService.HTTPRoute], places: [RoutePlace], losses: [Loss]) {
        var http: [VirtualService.HTTPRoute] = []
        var places: [RoutePlace] = []
        var losses: [Loss] = []
        for (index, route) in rule.http.enumerated() {
            let own = RoutePlace(object: rule.key, index: index, matches: route.match.count)
            guard let named = route.delegate else {
                http.append(route)
                places.append(own)
                continue
            }
            let key = name(named, rule)
            // A delegate has no hosts of its own.
            guard let delegate = written(key), delegate.hosts.isEmpty,
                HostName.isVisible(
                    exportTo: delegate.rule.exportTo, owner: key.namespace, to: rule.key.namespace)
            else {
                losses.append(
                    Loss(
                        object: rule.key, field: "\(own.field).delegate",
                        message: "no VirtualService \(key) without hosts that namespace \(rule.key.namespace) sees: "
                            + "such requests have no route (H-18)"))
                continue
            }
            for (position, leaf) in delegate.http.enumerated() {
                let place = RoutePlace(object: key, index: position, matches: leaf.match.count)
                if leaf.delegate != nil {
                    losses.append(
                        Loss(
                            object: key, field: "\(place.field).delegate",
                            message: "a delegate cannot delegate: the route is left out (H-18)"))
                    continue
                }
                guard let (match, fields) = merged(route, leaf, own, place) else {
                    losses.append(
                        Loss(
                            object: key, field: "\(place.field).match",
                            message: "is no part of \(rule.key) \(own.field).match: the route is left out (H-18)"))
                    continue
                }
                var combined = place
                combined.matches = fields
                http.append(join(route, leaf, match))
                places.append(combined)
            }
        }
        return (http, places, losses)
    }

    // MARK: Conditions

    /// The conditions of both; `nil` when one of the delegate's lies outside all of the root's.
    private static func merged(
        _ root: VirtualService.HTTPRoute, _ leaf: VirtualService.HTTPRoute, _ rootPlace: RoutePlace,
        _ leafPlace: RoutePlace
    ) -> (match: [JSON], fields: [String])? {
        if leaf.match.isEmpty {
            // The conditions are the root's, but what to do with a request is written in the delegate.
            return (root.match.map(\.json), root.match.map { _ in leafPlace.field })
        }
        if root.match.isEmpty { return (leaf.match.map(\.json), leafPlace.matches) }
        var found: [JSON] = []
        var fields: [String] = []
        for (inner, field) in zip(leaf.match, leafPlace.matches) {
            let supersets = root.match.filter { isPart(inner, of: $0) }
            if supersets.isEmpty { return nil }
            for outer in supersets {
                found.append(join(outer, inner))
                fields.append(field)
            }
        }
        return (found, fields)
    }

    private static func isPart(
        _ leaf: VirtualService.HTTPMatchRequest, of root: VirtualService.HTTPMatchRequest
    ) -> Bool {
        if root.uri != nil && leaf.uri != nil && root.ignoreUriCase != leaf.ignoreUriCase { return false }
        if let a = root.port, let b = leaf.port, a != b { return false }
        if !root.sourceNamespace.isEmpty && !leaf.sourceNamespace.isEmpty
            && root.sourceNamespace != leaf.sourceNamespace
        {
            return false
        }
        if !root.gateways.isEmpty && !Set(leaf.gateways).isSubset(of: root.gateways) { return false }
        if root.sourceLabels.contains(where: { key, value in leaf.sourceLabels[key].map { $0 != value } ?? false }) {
            return false
        }
        func fits(_ root: [(name: String, match: StringMatch)], _ leaf: [(name: String, match: StringMatch)]) -> Bool {
            root.allSatisfy { outer in
                leaf.first { $0.name == outer.name }.map { isPart($0.match, of: outer.match) } ?? true
            }
        }
        return isPart(leaf.uri, of: root.uri) && isPart(leaf.scheme, of: root.scheme)
            && isPart(leaf.method, of: root.method) && isPart(leaf.authority, of: root.authority)
            && fits(root.headers, leaf.headers) && fits(root.queryParams, leaf.queryParams)
            && fits(root.withoutHeaders, leaf.withoutHeaders)
    }

    /// Whether what the inner condition takes, the outer one takes, too; a regular expression is a part of itself only.
    private static func isPart(_ leaf: StringMatch?, of root: StringMatch?) -> Bool {
        guard let leaf, let root, leaf != root else { return true }
        switch (root, leaf) {
        case (.present, _): return true
        case (.prefix(let outer), .prefix(let inner)), (.prefix(let outer), .exact(let inner)):
            return inner.hasPrefix(outer)
        default: return false
        }
    }

    // MARK: Joining

    private static func join(
        _ root: VirtualService.HTTPMatchRequest, _ leaf: VirtualService.HTTPMatchRequest
    ) -> JSON {
        var members = root.json.object ?? [:]
        for (name, value) in leaf.json.object ?? [:] {
            switch name {
            case "headers", "withoutHeaders", "queryParams", "sourceLabels":
                var both = members[name]?.object ?? [:]
                both.merge(value.object ?? [:]) { _, inner in inner }
                members[name] = .object(both)
            default: members[name] = value
            }
        }
        members["name"] = join(root.name, leaf.name)
        return .object(members)
    }

    /// The delegate's fields win; what it does not say is taken from the root.
    private static func join(
        _ root: VirtualService.HTTPRoute, _ leaf: VirtualService.HTTPRoute, _ match: [JSON]
    ) -> VirtualService.HTTPRoute {
        var members = root.json.object ?? [:]
        for name in ["delegate", "route", "redirect", "directResponse"] { members[name] = nil }
        let mirrors = ["mirror", "mirrors", "mirrorPercent", "mirror_percent", "mirrorPercentage"]
        let leafMembers = leaf.json.object ?? [:]
        if mirrors.contains(where: { leafMembers[$0] != nil }) {
            for name in mirrors { members[name] = nil }
        }
        members.merge(leafMembers) { _, inner in inner }
        members["name"] = join(root.name, leaf.name)
        members["match"] = match.isEmpty ? nil : .array(match)
        return VirtualService.HTTPRoute(json: .object(members))
    }

    private static func join(_ root: String, _ leaf: String) -> JSON? {
        let name = [root, leaf].filter { !$0.isEmpty }.joined(separator: "-")
        return name.isEmpty ? nil : .string(name)
    }
}
