import KubernetesAPI
import Serialization

/// Which namespaces may claim hosts of others.
///
/// A ReferenceGrant in the namespace that has the service, as the Gateway API has it for backends:
/// `from: [{group: networking.istio.io, kind: VirtualService, namespace: team}]`,
/// `to: [{group: "", kind: Service, name: web}]`; without a name it holds for every service of the namespace.
struct HostGrants: Sendable, Hashable {
    private struct Claim: Sendable, Hashable {
        var kind: String
        var from: String
        var owner: String
        /// Empty for every service.
        var service: String
    }

    private var claims: Set<Claim> = []

    /// Reads the ReferenceGrants.
    init(_ grants: [KubernetesObject]) {
        for grant in grants {
            let sources = (grant.spec["from"]?.array ?? []).filter { $0["group"]?.string == "networking.istio.io" }
            let services = (grant.spec["to"]?.array ?? []).filter {
                ($0["group"]?.string ?? "").isEmpty && $0["kind"]?.string == "Service"
            }
            for source in sources {
                for service in services {
                    claims.insert(
                        Claim(
                            kind: source["kind"]?.string ?? "", from: source["namespace"]?.string ?? "",
                            owner: grant.namespace, service: service["name"]?.string ?? ""))
                }
            }
        }
    }

    /// Whether a rule of a kind in namespace `from` may speak for a host of namespace `owner`.
    func allows(_ kind: String, from: String, host: String, owner: String) -> Bool {
        guard !claims.isEmpty else { return false }
        let service = String(host.prefix { $0 != "." })
        return claims.contains(Claim(kind: kind, from: from, owner: owner, service: service))
            || claims.contains(Claim(kind: kind, from: from, owner: owner, service: ""))
    }
}
