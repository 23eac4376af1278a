import KubernetesAPI

extension MeshModel {
    /// The labels by which a subset of a host chooses its endpoints; nil when no DestinationRule names it.
    ///
    /// Of several definitions the first wins (D-2).
    public func labels(ofSubset name: String, host: String) -> [String: String]? {
        for policy in policies(covering: host) {
            if let subset = policy.subsets.first(where: { $0.name == name }) { return subset.labels }
        }
        return nil
    }
}
