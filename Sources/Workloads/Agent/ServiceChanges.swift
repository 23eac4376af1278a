public import KubernetesAPI

/// A service with its endpoints.
public struct ServiceParts: Sendable, Hashable {
    /// `namespace/name`.
    public var key: String
    /// The Service; nil: there is none.
    public var service: KubernetesObject?
    /// Its EndpointSlices, by name.
    public var slices: [KubernetesObject]

    /// A service with its endpoints; without an object it is gone.
    public init(key: String, service: KubernetesObject? = nil, slices: [KubernetesObject] = []) {
        self.key = key
        self.service = service
        self.slices = slices
    }
}

/// Services that have changed, each as it is now.
public struct ServiceChanges: Sendable, Hashable {
    /// Whether these are all services: there are no others any more.
    public var isWhole: Bool
    /// The services, by key.
    public var parts: [ServiceParts]

    /// Services that have changed.
    public init(isWhole: Bool, _ parts: [ServiceParts]) {
        self.isWhole = isWhole
        self.parts = parts
    }
}
