import EnvoyAPI
import KubernetesAPI
import Serialization

/// What of a request chooses the endpoint: the route's half of consistent hashing (B-3), which the clusters' half would
/// be random choice without.
struct HashPolicies {
    let scope: RouteScope

    /// The policies for all destinations of a route, each once.
    func policies(_ destinations: [VirtualService.Destination], ruleNamespace: String) -> [RouteAction.HashPolicy] {
        var found: [RouteAction.HashPolicy] = []
        for destination in destinations {
            let host = HostName.expanded(destination.host, ruleNamespace: ruleNamespace)
            guard let service = scope.model.service(host: host) else { continue }
            let port =
                destination.port ?? (service.ports.count == 1 ? service.ports.first?.number : nil) ?? scope.port
            for policy in policies(service, port: port, subset: destination.subset) where !found.contains(policy) {
                found.append(policy)
            }
        }
        return found
    }

    /// The policies of a service port, or of a subset.
    func policies(_ service: MeshService, port: Int, subset: String = "") -> [RouteAction.HashPolicy] {
        let found = DestinationPolicy.find(
            host: service.host, serviceNamespace: service.key.namespace, callerNamespace: scope.namespace,
            callerLabels: scope.labels, model: scope.model)
        let named = subset.isEmpty ? nil : found.subsets.first { $0.subset.name == subset }?.subset
        let settings = found.settings(port: port, subset: named)
        if let written = settings.loadBalancer?.json["consistentHash"] {
            return Self.policy(KubernetesObject(json: written)).map { [$0] } ?? []
        }
        // S-10: the service's own wish, unless a rule chooses a policy.
        let simple = settings.loadBalancer?.simple ?? ""
        if service.sessionAffinitySeconds != nil, simple.isEmpty || simple == "UNSPECIFIED" { return [sourceAddress] }
        return []
    }

    /// Whether connections to a service are chosen by the caller's address.
    func usesAddress(_ service: MeshService, port: Int, subset: String = "") -> Bool {
        policies(service, port: port, subset: subset).contains(sourceAddress)
    }

    private var sourceAddress: RouteAction.HashPolicy {
        var properties = RouteAction.HashPolicy.ConnectionProperties()
        properties.sourceIp = true
        var policy = RouteAction.HashPolicy()
        policy.policySpecifier = .connectionProperties(properties)
        return policy
    }

    private static func policy(_ written: KubernetesObject) -> RouteAction.HashPolicy? {
        var policy = RouteAction.HashPolicy()
        if !written.string("httpHeaderName").isEmpty {
            var header = RouteAction.HashPolicy.Header()
            header.headerName = written.string("httpHeaderName").lowercased()
            policy.policySpecifier = .header(header)
        } else if let cookie = written.json["httpCookie"] {
            let view = KubernetesObject(json: cookie)
            var message = RouteAction.HashPolicy.Cookie()
            message.name = view.string("name")
            message.ttl = view.duration("ttl")
            message.path = view.string("path")
            message.attributes = (cookie["attributes"]?.array ?? []).map { entry in
                var attribute = RouteAction.HashPolicy.CookieAttribute()
                attribute.name = entry["name"]?.string ?? ""
                attribute.value = entry["value"]?.string ?? ""
                return attribute
            }
            policy.policySpecifier = .cookie(message)
        } else if written.bool("useSourceIp") {
            var properties = RouteAction.HashPolicy.ConnectionProperties()
            properties.sourceIp = true
            policy.policySpecifier = .connectionProperties(properties)
        } else if !written.string("httpQueryParameterName").isEmpty {
            var parameter = RouteAction.HashPolicy.QueryParameter()
            parameter.name = written.string("httpQueryParameterName")
            policy.policySpecifier = .queryParameter(parameter)
        } else {
            return nil
        }
        return policy
    }
}
