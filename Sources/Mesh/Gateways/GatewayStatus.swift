import KubernetesAPI
public import Serialization

/// The status of an object as it follows from the model (I-16).
///
/// Conditions have no times and no generations: whoever writes them knows both, and an unchanged condition keeps its time.
public struct ComputedStatus: Sendable, Hashable {
    /// The kind.
    public var kind: MeshObjects.Kind
    /// Namespace and name.
    public var object: NamespacedName
    /// The whole status; entries of other controllers are not in it.
    public var status: JSON
}

/// What is known of the gateway's proxy.
public struct GatewayState: Sendable, Hashable {
    /// The addresses at which clients reach the pod's own ports.
    public var addresses: [String]
    /// The addresses of Gateways of the Gateway API, each its own.
    public var ownAddresses: [NamespacedName: [String]]
    /// Whether a proxy serves what the model says: it has acknowledged its configuration.
    public var isProgrammed: Bool
    /// What a proxy said about configuration that it refused.
    public var refusal: String?

    /// A gateway's state.
    public init(
        addresses: [String], ownAddresses: [NamespacedName: [String]] = [:], isProgrammed: Bool,
        refusal: String? = nil
    ) {
        self.addresses = addresses
        self.ownAddresses = ownAddresses
        self.isProgrammed = isProgrammed
        self.refusal = refusal
    }
}

extension MeshModel {
    /// The statuses of everything that the mesh answers for: kinds of the Gateway API, and Istio's.
    ///
    /// With `changed` only those of Istio's objects that have one of these names: each needs an analysis.
    public func statuses(_ state: GatewayState, changed: Set<NamespacedName>? = nil) -> [ComputedStatus] {
        GatewayStatuses(model: self, state: state).all() + istioStatuses(changed)
    }

    /// How many objects of Istio's kinds there are.
    public var istioObjectCount: Int { Self.istioKinds.reduce(0) { $0 + objects.inOrder($1).count } }

    private static let istioKinds = MeshObjects.Kind.allCases.filter { $0.group.hasSuffix("istio.io") }

    /// `status.conditions` and `status.validationMessages` of Istio's kinds, from the analysis.
    private func istioStatuses(_ changed: Set<NamespacedName>?) -> [ComputedStatus] {
        let tables = AnalysisTables(self)
        return Self.istioKinds.flatMap { kind in
            objects.inOrder(kind).filter { object in
                changed?.contains(NamespacedName(namespace: object.namespace, name: object.name)) ?? true
            }.map { object in
                let found = analyze(object, tables)
                let errors = found.filter { $0.severity == .error }
                let condition: JSON = [
                    "type": "Reconciled", "status": errors.isEmpty ? "True" : "False",
                    "reason": errors.isEmpty ? "Reconciled" : "Invalid",
                    "message": .string(
                        errors.first.map { "\($0.field): \($0.message)" } ?? "the mesh has taken it"),
                ]
                var status: JSON = ["conditions": [condition]]
                if !found.isEmpty {
                    status["validationMessages"] = .array(
                        found.map { diagnostic in
                            [
                                "type": [
                                    "code": .string(diagnostic.code.id), "name": .string(diagnostic.code.title),
                                ],
                                "level": .string(diagnostic.severity == .error ? "ERROR" : "WARNING"),
                                "message": .string("\(diagnostic.field): \(diagnostic.message)"),
                            ]
                        })
                }
                return ComputedStatus(
                    kind: kind, object: NamespacedName(namespace: object.namespace, name: object.name), status: status)
            }
        }
    }
}

/// Statuses of the kinds of the Gateway API.
struct GatewayStatuses {
    typealias Finding = GatewayAPIModel.Finding

    let model: MeshModel
    let state: GatewayState

    private var api: GatewayAPIModel { model.gatewayAPI }

    /// The names of what is supported beyond the core, in the words of the API's feature list.
    static let features = [
        "BackendTLSPolicy", "BackendTLSPolicySANValidation", "GRPCRoute", "GRPCRouteNamedRouteRule",
        "GRPCRouteRequestHeaderModifier", "Gateway", "GatewayAddressEmpty", "GatewayBackendClientCertificate",
        "GatewayFrontendClientCertificateValidation", "GatewayFrontendClientCertificateValidationInsecureFallback",
        "GatewayHTTPListenerIsolation", "GatewayHTTPSListenerDetectMisdirectedRequests",
        "GatewayInfrastructurePropagation", "GatewayPort8080", "GatewayStaticAddresses",
        "HTTPRoute", "HTTPRoute303RedirectStatusCode", "HTTPRoute307RedirectStatusCode",
        "HTTPRoute308RedirectStatusCode", "HTTPRouteBackendProtocolH2C", "HTTPRouteBackendProtocolWebSocket",
        "HTTPRouteBackendRequestHeaderModification", "HTTPRouteBackendTimeout", "HTTPRouteCORS",
        "HTTPRouteDestinationPortMatching", "HTTPRouteHostRewrite", "HTTPRouteMethodMatching",
        "HTTPRouteNamedRouteRule", "HTTPRouteParentRefPort", "HTTPRoutePathRedirect", "HTTPRoutePathRewrite",
        "HTTPRoutePortRedirect", "HTTPRouteQueryParamMatching", "HTTPRouteRequestMirror",
        "HTTPRouteRequestMultipleMirrors", "HTTPRouteRequestPercentageMirror", "HTTPRouteRequestTimeout",
        "HTTPRouteResponseHeaderModification", "HTTPRouteRetry", "HTTPRouteRetryBackendTimeout",
        "HTTPRouteRetryConnectionError", "HTTPRouteSchemeRedirect", "ListenerSet", "Mesh", "MeshClusterIPMatching",
        "MeshConsumerRoute",
        "MeshHTTPRouteBackendRequestHeaderModification", "MeshHTTPRouteNamedRouteRule",
        "MeshHTTPRouteQueryParamMatching", "MeshHTTPRouteRedirectPath", "MeshHTTPRouteRedirectPort",
        "MeshHTTPRouteRewritePath", "MeshHTTPRouteSchemeRedirect", "ReferenceGrant", "TCPRoute", "TLSRoute",
        "TLSRouteModeMixed", "TLSRouteModeTerminate", "UDPRoute",
    ]

    func all() -> [ComputedStatus] {
        classes() + api.gateways.map(gateway) + listenerSets() + api.routes.compactMap(route) + policies()
    }

    private func condition(_ type: String, _ holds: Bool, _ reason: String, _ message: String = "") -> JSON {
        [
            "type": .string(type), "status": holds ? "True" : "False", "reason": .string(reason),
            "message": .string(message),
        ]
    }

    /// A condition that holds unless something was found.
    private func condition(_ type: String, unless findings: [Finding]) -> JSON {
        guard let first = findings.first else { return condition(type, true, type) }
        let message = findings.filter { $0.reason == first.reason }.map(\.message).joined(separator: "; ")
        return condition(type, false, first.reason, message)
    }

    private func classes() -> [ComputedStatus] {
        model.objects.inOrder(.gatewayClass).compactMap { object in
            let written = GatewayAPI.GatewayClass(json: object.json)
            guard written.controllerName == Mesh.gatewayController else { return nil }
            let accepted =
                written.hasParameters
                ? condition("Accepted", false, "InvalidParameters", "spec.parametersRef: there are no parameters")
                : condition("Accepted", true, "Accepted")
            return ComputedStatus(
                kind: .gatewayClass, object: NamespacedName(namespace: "", name: object.name),
                status: [
                    "conditions": [accepted],
                    "supportedFeatures": .array(Self.features.map { ["name": .string($0)] }),
                ])
        }
    }

    // MARK: Gateways

    private func gateway(_ gateway: GatewayAPIModel.Gateway) -> ComputedStatus {
        let own = gateway.listeners.map { api.listeners[$0] }.filter { $0.owner == .gateway(gateway.key) }
        let addresses = gateway.usesSharedAddress ? state.addresses : state.ownAddresses[gateway.key] ?? []
        let unusable = gateway.gateway.addresses.filter { wanted in
            if wanted.type == "Hostname" { return wanted.value != Mesh.gatewayServiceHost }
            return !wanted.value.isEmpty && !addresses.contains(wanted.value)
        }.map(\.value)
        var conditions = [accepted(own, gateway.refusal)]
        if gateway.refusal != nil || !own.contains(where: \.isServed) {
            conditions.append(condition("Programmed", false, "Invalid", "no listener is served"))
        } else if !unusable.isEmpty {
            conditions.append(
                condition(
                    "Programmed", false, "AddressNotUsable",
                    "spec.addresses: \(unusable.joined(separator: ", ")) cannot be given to the Gateway"))
        } else if addresses.isEmpty {
            conditions.append(condition("Programmed", false, "AddressNotAssigned", "the gateway has no address yet"))
        } else {
            conditions.append(programmed())
        }
        if gateway.gateway.backendCertificate != nil {
            conditions.append(
                condition("ResolvedRefs", unless: [gateway.backendCertificateProblem].compactMap { $0 }))
        }
        if gateway.gateway.allowsInsecureFallback {
            conditions.append(
                condition(
                    "InsecureFrontendValidationMode", true, "ConfigurationChanged",
                    "spec.tls.frontend: AllowInsecureFallback lets clients in whose certificate nobody vouches for"))
        }
        // A set without any listener that is served is not attached.
        let sets = Set(gateway.listeners.map { api.listeners[$0] }.filter(\.isServed).map(\.owner))
            .subtracting([.gateway(gateway.key)])
        return ComputedStatus(
            kind: .gatewayAPIGateway, object: gateway.key,
            status: [
                "addresses": .array(addresses.map(Self.address)),
                "conditions": .array(conditions), "listeners": .array(own.map(listener)),
                "attachedListenerSets": .integer(Int64(sets.count)),
            ])
    }

    /// An address with its type: of a load balancer elsewhere there may be a host name.
    private static func address(_ value: String) -> JSON {
        let isNumber =
            value.contains(":") || value.utf8.allSatisfy { $0 == UInt8(ascii: ".") || (48...57).contains($0) }
        return ["type": isNumber ? "IPAddress" : "Hostname", "value": .string(value)]
    }

    private func accepted(_ listeners: [GatewayAPIModel.Listener], _ refusal: Finding?) -> JSON {
        if let refusal { return condition("Accepted", unless: [refusal]) }
        let bad = listeners.filter { $0.conflict != nil || $0.refusal != nil }
        if bad.isEmpty { return condition("Accepted", true, "Accepted") }
        return condition(
            "Accepted", bad.count < listeners.count, "ListenersNotValid",
            "not valid: " + bad.map(\.listener.name).joined(separator: ", "))
    }

    /// Programmed means that a gateway's proxy has acknowledged what it was sent.
    private func programmed() -> JSON {
        if let refusal = state.refusal {
            return condition("Programmed", false, "Invalid", "the gateway refused its configuration: \(refusal)")
        }
        return state.isProgrammed
            ? condition("Programmed", true, "Programmed")
            : condition("Programmed", false, "Pending", "the gateway has not acknowledged its configuration yet")
    }

    private func listener(_ listener: GatewayAPIModel.Listener) -> JSON {
        var conditions: [JSON] = []
        if let finding = listener.conflict {
            conditions.append(condition("Accepted", false, finding.reason, finding.message))
        } else if let refusal = listener.refusal {
            conditions.append(condition("Accepted", unless: [refusal]))
        } else {
            let message = listener.sharedConflict.map { "at the Gateway's own address only: \($0.message)" }
            conditions.append(condition("Accepted", true, "Accepted", message ?? ""))
        }
        if let finding = listener.conflict, case .listenerSet = listener.owner {
            // The API's own tests ask for the conflict here, which a Gateway's listener tells by Accepted alone.
            conditions.append(condition("Programmed", false, finding.reason, finding.message))
        } else {
            conditions.append(
                listener.isServed
                    ? programmed() : condition("Programmed", false, "Invalid", "the listener is not served"))
        }
        conditions.append(condition("ResolvedRefs", unless: listener.unresolved))
        conditions.append(
            listener.conflict.map { condition("Conflicted", true, $0.reason, $0.message) }
                ?? condition("Conflicted", false, "NoConflicts"))
        return [
            "name": .string(listener.listener.name), "attachedRoutes": .integer(Int64(listener.attachedRoutes)),
            "supportedKinds": .array(
                listener.kinds.map { ["group": .string(GatewayAPI.group), "kind": .string($0.rawValue)] }),
            "conditions": .array(conditions),
        ]
    }

    private func listenerSets() -> [ComputedStatus] {
        model.objects.inOrder(.listenerSet).compactMap { object in
            let key = NamespacedName(namespace: object.namespace, name: object.name)
            if let refusal = api.refusedSets[key] {
                return ComputedStatus(
                    kind: .listenerSet, object: key,
                    status: [
                        "conditions": [
                            condition("Accepted", unless: [refusal]),
                            condition("Programmed", false, refusal.reason, refusal.message),
                        ]
                    ])
            }
            let own = api.listeners.filter { $0.owner == .listenerSet(key) }
            guard !own.isEmpty else { return nil }
            // Unlike a Gateway, a set of which nothing can be served is not accepted, whatever the reason.
            let nothing = Finding(reason: "ListenersNotValid", message: "no listener is served")
            return ComputedStatus(
                kind: .listenerSet, object: key,
                status: [
                    "conditions": own.contains(where: \.isServed)
                        ? [accepted(own, nil), programmed()]
                        : [condition("Accepted", unless: [nothing]), condition("Programmed", unless: [nothing])],
                    "listeners": .array(own.map(listener)),
                ])
        }
    }

    // MARK: Routes and policies

    private func route(_ route: GatewayAPIModel.Route) -> ComputedStatus? {
        let parents: [JSON] = route.parents.map { parent in
            [
                "parentRef": parent.reference.json, "controllerName": .string(Mesh.gatewayController),
                "conditions": [
                    condition("Accepted", unless: [parent.accepted].compactMap { $0 }),
                    condition("ResolvedRefs", unless: route.unresolved),
                ],
            ]
        }
        return ComputedStatus(kind: route.kind.kind, object: route.key, status: ["parents": .array(parents)])
    }

    /// A policy answers for each Gateway with a route to one of its targets.
    private func policies() -> [ComputedStatus] {
        api.backendTLS.policies.map { policy in
            let targets = GatewayAPI.BackendTLSPolicy(
                json: model.objects.object(.backendTLSPolicy, policy.key)?.json ?? .null
            ).targets.map { NamespacedName(namespace: policy.key.namespace, name: $0.name) }
            let ancestors = api.gateways.filter { gateway in
                gateway.listeners.contains { position in
                    (api.attachments[position] ?? []).contains { attachment in
                        api.routes.indices.contains(attachment.route)
                            && leads(api.routes[attachment.route], to: targets)
                    }
                }
            }
            return ComputedStatus(
                kind: .backendTLSPolicy, object: policy.key,
                status: [
                    "ancestors": .array(
                        ancestors.map { gateway in
                            [
                                "ancestorRef": [
                                    "group": .string(GatewayAPI.group), "kind": "Gateway",
                                    "namespace": .string(gateway.key.namespace), "name": .string(gateway.key.name),
                                ],
                                "controllerName": .string(Mesh.gatewayController),
                                "conditions": [
                                    condition("Accepted", unless: [policy.refusal].compactMap { $0 }),
                                    condition("ResolvedRefs", unless: policy.unresolved),
                                ],
                            ]
                        })
                ])
        }
    }

    private func leads(_ route: GatewayAPIModel.Route, to targets: [NamespacedName]) -> Bool {
        route.route.rules.contains { rule in
            rule.backends.contains {
                targets.contains(NamespacedName(namespace: $0.namespace ?? route.key.namespace, name: $0.name))
            }
        }
    }
}
