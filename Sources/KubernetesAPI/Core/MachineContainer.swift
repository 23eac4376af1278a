/// A container that a runtime has put on a machine with `skein-cni`, beside Kubernetes: a WorkloadEntry of the namespace `default`.
public enum MachineContainer {
    /// The namespace of these entries.
    public static let namespace = "default"
    /// Begins their names; the container's id and interface follow.
    public static let namePrefix = "cni-"
    /// On which node it is.
    public static let nodeLabel = "skein.dev/cni-node"
    /// The container's name: what a Service says to have it among its endpoints.
    ///
    /// Not `app`: a container that happens to be called as an application of the mesh must not get its requests.
    public static let containerLabel = "skein.dev/container"
    /// The host's end of its link.
    public static let linkAnnotation = "skein.dev/cni-link"
}
