import EnvoyAPI
import KubernetesAPI
import Serialization

/// Who may enter by a gateway pod, and by the Gateways of the Gateway API that it serves.
///
/// A policy that selects the pod is for all that enters there. One that is attached to a Gateway (`targetRefs`) is for
/// what enters by that Gateway's listeners, together with the policies of the pod (A-1 goes over all of them). Where a
/// connection manager serves several Gateways, each with policies of its own has a series of filters that only its
/// routes switch on.
struct EntrancePolicies {
    /// Whose policies count: those of the pod alone, or those of a Gateway as well.
    enum Scope: Hashable, Comparable {
        case pod
        case gateway(NamespacedName)

        /// What the names of its filters end with, where several scopes share a connection manager.
        fileprivate var suffix: String {
            switch self {
            case .pod: "@pod"
            case .gateway(let key): "@\(key)"
            }
        }
        static func < (left: Self, right: Self) -> Bool { left.suffix < right.suffix }
    }

    private let pod: WorkloadPolicies
    private let gateways: [NamespacedName: WorkloadPolicies]

    init(model: MeshModel, namespace: String, labels: [String: String]) {
        pod = WorkloadPolicies(model: model, namespace: namespace, labels: labels)
        var gateways: [NamespacedName: WorkloadPolicies] = [:]
        for gateway in model.gatewayAPI.gateways {
            let target = PolicyTarget.Place(
                namespace: gateway.key.namespace, name: gateway.key.name, className: gateway.gateway.className)
            let policies = WorkloadPolicies(model: model, namespace: namespace, labels: labels, at: target)
            if policies.isAttached { gateways[gateway.key] = policies }
        }
        self.gateways = gateways
    }

    /// Whose policies count for what enters by a Gateway.
    func scope(_ gateway: NamespacedName) -> Scope { gateways[gateway] == nil ? .pod : .gateway(gateway) }

    private func policies(_ scope: Scope) -> WorkloadPolicies {
        switch scope {
        case .pod: pod
        case .gateway(let key): gateways[key] ?? pod
        }
    }

    /// The clusters that the filters need and nobody else has.
    func clusters() -> [Cluster] { pod.clusters() + gateways.values.flatMap { $0.clusters() } }

    /// The filters of a chain that carries bytes, before its proxy.
    func networkFilters(_ scope: Scope) -> [Filter] { policies(scope).networkFilters(statPrefix: "tcp.") }

    /// The filters of a connection manager that serves those scopes, before all others.
    func httpFilters(_ scopes: Set<Scope>) -> [HttpFilter] {
        if let only = scopes.first, scopes.count == 1 { return policies(only).httpFilters() }
        return scopes.sorted().flatMap { scope in
            policies(scope).httpFilters().map { filter in
                var filter = filter
                // A name of its own, so that a switch never turns off what somebody else has put there.
                filter.name += scope.suffix
                filter.disabled = scope != .pod
                return filter
            }
        }
    }

    /// Makes a route of a connection manager that serves `all` go through the filters of `wanted` only.
    ///
    /// A route of several Gateways must pass the policies of each: nobody can tell by which one a request came.
    func choose(_ wanted: Set<Scope>, of all: Set<Scope>, _ route: inout Route) {
        guard all.count > 1 else { return }
        for scope in all {
            let isOn = wanted.contains(scope)
            if isOn == (scope == .pod) { continue }  // As the connection manager has it.
            var choice = FilterConfig()
            choice.disabled = !isOn
            if isOn { choice.config = AnyMessage() }  // An empty configuration switches on.
            for filter in policies(scope).httpFilters() {
                route.typedPerFilterConfig[filter.name + scope.suffix] = AnyMessage(packing: choice)
            }
        }
    }
}
