import KubernetesAPI
import Serialization

/// What the Gateway API's objects say that is not served: the findings behind their statuses, and what nobody uses.
struct GatewayAPIAnalysis {
    typealias Finding = GatewayAPIModel.Finding

    private struct Place: Hashable {
        var kind: MeshObjects.Kind
        var key: NamespacedName
    }

    private let tables: AnalysisTables
    private let listeners: [Place: [GatewayAPIModel.Listener]]
    private let gateways: [NamespacedName: GatewayAPIModel.Gateway]
    private let routes: [Place: GatewayAPIModel.Route]
    private let policies: [NamespacedName: BackendTLS.Policy]
    private var model: MeshModel { tables.model }

    init(_ tables: AnalysisTables) {
        self.tables = tables
        let api = tables.model.gatewayAPI
        tables.count(api.listeners.count + api.gateways.count + api.routes.count)
        listeners = Dictionary(grouping: api.listeners) { listener in
            switch listener.owner {
            case .gateway(let key): Place(kind: .gatewayAPIGateway, key: key)
            case .listenerSet(let key): Place(kind: .listenerSet, key: key)
            }
        }
        gateways = Dictionary(api.gateways.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
        routes = Dictionary(
            api.routes.map { (Place(kind: $0.kind.kind, key: $0.key), $0) }, uniquingKeysWith: { first, _ in first })
        policies = Dictionary(
            api.backendTLS.policies.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
    }

    func diagnostics(_ kind: MeshObjects.Kind, _ key: NamespacedName, _ object: KubernetesObject) -> [Diagnostic] {
        func finding(_ code: DiagnosticCode, _ field: String, _ message: String) -> Diagnostic {
            Diagnostic(code, kind: kind.name, object: key, field: field, message: message)
        }
        switch kind {
        case .gatewayAPIGateway:
            let written = GatewayAPI.Gateway(json: object.json)
            guard model.objects.object(.gatewayClass, NamespacedName(namespace: "", name: written.className)) != nil
            else {
                return [
                    finding(
                        .unknownGatewayClass, "spec.gatewayClassName",
                        "there is no GatewayClass \"\(written.className)\": nobody serves this Gateway")
                ]
            }
            var found = listeners(Place(kind: kind, key: key), finding)
            if let gateway = gateways[key] {
                if let refusal = gateway.refusal {
                    found.append(finding(.unsupportedListener, "spec", refusal.message))
                }
                if let problem = gateway.backendCertificateProblem {
                    found.append(
                        finding(
                            problem.reason == "RefNotPermitted" ? .missingReferenceGrant : .listenerCertificate,
                            "spec.tls.backend.clientCertificateRef", Self.rest(problem.message)))
                }
            }
            return found
        case .listenerSet:
            if let refusal = model.gatewayAPI.refusedSets[key] {
                return [finding(.listenerSetNotAllowed, "spec.parentRef", refusal.message)]
            }
            return listeners(Place(kind: kind, key: key), finding)
        case .httpRoute, .grpcRoute, .tlsRoute, .tcpRoute, .udpRoute:
            return routes[Place(kind: kind, key: key)].map { route($0, finding) } ?? []
        case .backendTLSPolicy:
            guard let policy = policies[key] else { return [] }
            return ([policy.refusal].compactMap { $0 } + policy.unresolved).map { problem in
                let (field, message) = Self.parts(problem.message)
                return finding(.backendTLSPolicyRefused, field ?? "spec.validation", message)
            }
        case .referenceGrant: return grant(GatewayAPI.ReferenceGrant(json: object.json), key, finding)
        default: return []
        }
    }

    /// `spec.rules[0].backendRefs[1]: there is no …` in its two parts; no field when it begins with none.
    private static func parts(_ text: String) -> (field: String?, message: String) {
        guard text.hasPrefix("spec."), let colon = text.firstIndex(of: ":"), !text[..<colon].contains(" ") else {
            return (nil, text)
        }
        return (String(text[..<colon]), String(text[text.index(after: colon)...].drop { $0 == " " }))
    }

    private static func rest(_ text: String) -> String { parts(text).message }

    // MARK: Listeners

    private func listeners(
        _ place: Place, _ finding: (DiagnosticCode, String, String) -> Diagnostic
    ) -> [Diagnostic] {
        (listeners[place] ?? []).flatMap { listener -> [Diagnostic] in
            let field = "spec.listeners[\(listener.index)]"
            var found: [Diagnostic] = []
            if let conflict = listener.conflict {
                found.append(finding(.listenerConflict, field, conflict.message))
            } else if let refusal = listener.refusal, refusal != gateways[listener.gateway]?.refusal {
                let code: DiagnosticCode =
                    switch refusal.reason {
                    case "PortUnavailable": .listenerPortUnavailable
                    case "NoValidCACertificate": .listenerCertificate
                    default: .unsupportedListener
                    }
                found.append(finding(code, code == .listenerPortUnavailable ? "\(field).port" : field, refusal.message))
            }
            for problem in listener.unresolved {
                let code: DiagnosticCode =
                    switch problem.reason {
                    case "RefNotPermitted": .missingReferenceGrant
                    case "InvalidRouteKinds": .listenerRouteKinds
                    default: .listenerCertificate
                    }
                let words = problem.message.split(separator: ":", maxSplits: 1).map(String.init)
                let member = words.first ?? ""
                let isField = words.count == 2 && !member.contains(" ")
                found.append(
                    finding(
                        code, isField ? "\(field).\(member)" : field,
                        isField ? String((words.last ?? "").drop { $0 == " " }) : problem.message))
            }
            if listener.isServed, listener.attachedRoutes == 0 {
                found.append(finding(.listenerWithoutRoutes, field, "no route is attached: requests get 404"))
            }
            return found
        }
    }

    // MARK: Routes

    private func route(
        _ route: GatewayAPIModel.Route, _ finding: (DiagnosticCode, String, String) -> Diagnostic
    ) -> [Diagnostic] {
        var found: [Diagnostic] = []
        if route.route.parents.isEmpty {
            found.append(finding(.routeWithoutParents, "spec.parentRefs", "absent: the route is attached to nothing"))
        }
        var answered = route.parents[...]
        for (index, reference) in route.route.parents.enumerated() {
            let field = "spec.parentRefs[\(index)]"
            // Parents that are not ours have no answer.
            guard let parent = answered.first, parent.reference == reference else {
                if let message = absence(reference, route.key.namespace) {
                    found.append(finding(.unknownParent, field, message))
                }
                continue
            }
            answered = answered.dropFirst()
            guard let refusal = parent.accepted, refusal != route.refusal else { continue }
            let code: DiagnosticCode =
                switch refusal.reason {
                case "NoMatchingParent": .unknownParent
                case "NotAllowedByListeners": .routeNotAllowed
                case "NoMatchingListenerHostname": .routeHostsDoNotMeet
                default: .unsupportedRoute
                }
            found.append(finding(code, code == .routeHostsDoNotMeet ? "spec.hostnames" : field, refusal.message))
        }
        if let refusal = route.refusal {
            let (field, message) = Self.parts(refusal.message)
            found.append(finding(.unsupportedRoute, field ?? "spec", message))
        }
        for problem in route.unresolved {
            let code: DiagnosticCode =
                switch problem.reason {
                case "RefNotPermitted": .missingReferenceGrant
                case "InvalidKind": .unsupportedBackend
                default: .unknownBackend
                }
            let (field, message) = Self.parts(problem.message)
            found.append(finding(code, field ?? "spec.rules", message))
        }
        for (index, rule) in route.route.rules.enumerated()
        where !rule.backends.isEmpty && rule.backends.allSatisfy({ $0.weight == 0 }) {
            found.append(
                finding(
                    .backendWeightsZero, "spec.rules[\(index)].backendRefs", "all weights are 0: such requests get 500")
            )
        }
        return found
    }

    /// Why nobody answers for a parent; nil when it may be another controller's.
    private func absence(_ reference: GatewayAPI.Reference, _ namespace: String) -> String? {
        let key = NamespacedName(namespace: reference.namespace ?? namespace, name: reference.name)
        guard (reference.group ?? GatewayAPI.group) == GatewayAPI.group else { return nil }
        switch reference.kind {
        case "", "Gateway":
            return model.objects.object(.gatewayAPIGateway, key) == nil ? "there is no Gateway \(key)" : nil
        case "ListenerSet":
            return model.objects.object(.listenerSet, key) == nil ? "there is no ListenerSet \(key)" : nil
        default: return nil
        }
    }

    // MARK: Grants

    private func grant(
        _ grant: GatewayAPI.ReferenceGrant, _ key: NamespacedName,
        _ finding: (DiagnosticCode, String, String) -> Diagnostic
    ) -> [Diagnostic] {
        var found: [Diagnostic] = []
        let kinds: [String: MeshObjects.Kind] = ["Service": .service, "Secret": .secret, "ConfigMap": .configMap]
        for (index, target) in grant.to.enumerated() where !target.name.isEmpty && (target.group ?? "").isEmpty {
            guard let kind = kinds[target.kind], kind != .configMap,
                model.objects.object(kind, NamespacedName(namespace: key.namespace, name: target.name)) == nil
            else { continue }
            found.append(
                finding(
                    .unusedReferenceGrant, "spec.to[\(index)].name",
                    "there is no \(target.kind) \(target.name) in namespace \(key.namespace)"))
        }
        for (index, source) in grant.from.enumerated() where source.group == GatewayAPI.group {
            guard let namespace = source.namespace,
                let kind = MeshObjects.Kind(group: GatewayAPI.group, kind: source.kind),
                !tables.kinds(in: namespace).contains(kind)
            else { continue }
            found.append(
                finding(
                    .unusedReferenceGrant, "spec.from[\(index)]",
                    "there is no \(source.kind) in namespace \(namespace) that could refer to something here"))
        }
        return found
    }
}
