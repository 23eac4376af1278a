public import APIServer
public import IO
internal import Identity
public import Store

/// How the control plane runs.
public struct ControlPlaneOptions: Sendable {
    /// Where `control/` is, with the database and the authority.
    public var dataDirectory: String
    /// Where the unix sockets are made.
    public var runDirectory: String
    /// Where kubectl finds the API.
    public var apiAddress: SocketAddress
    /// Watches that the API takes at once; nil: as many as descriptors allow, at most `APICapacity.watchesDefault`.
    public var watchesMax: Int?
    /// Where proxies of other machines subscribe, with mTLS; nil: only over pods' own sockets.
    public var discoveryAddress: SocketAddress?
    /// Where objects are kept.
    public var store = StoreSettings()
    /// How long certificates of workloads hold, in seconds.
    public var certificateLifetime: Int64
    /// Metrics and overview.
    public var metricsAddress: SocketAddress
    /// The collector that gets them by OTLP over HTTP (`http://ADDRESS:PORT/v1/metrics`); nil for none.
    public var metricsCollector: String?
    /// Memory of the built-in time series at most, in MiB; series are limited in proportion.
    public var insightMebibytes = 96
    /// The program that sends the messages of alerts, called as `PROGRAM -i -t`; nil: none are sent.
    public var mailProgram: String?
    /// The addresses of services and pods, whose reverse names are answered here.
    public var reversePrefixes: [Prefix]
    /// Further addresses and names by which other machines reach the API: its certificate is good for them.
    public var apiNames: [String] = []
    /// The addresses of pods of all nodes, one range of a family, out of which each node gets a block.
    public var podPools: [Prefix] = []
    /// Addresses that only rules know: cluster IPs and load balancers.
    public var serviceRanges = ServiceRanges.standard
    /// Whether pods have addresses of both families, so that proxies listen on both.
    public var isDualStack: Bool { Set(podPools.map(\.address.isV6)).count > 1 }
    /// The node beside this API server: pods without another one run there.
    public var nodeName: String

    /// Where programs that are no pods are registered over TCP; nil: only over the unix socket, by root.
    public var registryAddress: SocketAddress?
    /// What names of registered programs end with.
    public var registryDomain = "consul"
    /// The datacenter that the registry says it is.
    public var registryDatacenter = "dc1"
    /// Whether checks of registered programs may run programs on this machine.
    public var registryScripts = false

    /// The kubeconfig of a Kubernetes API whose objects are served instead of our own; nil: our own.
    public var kubeconfig: String?

    /// The usual options.
    public init(dataDirectory: String, runDirectory: String) {
        self.dataDirectory = dataDirectory
        self.runDirectory = runDirectory
        apiAddress = .ip(.v4(0x7f00_0001), port: 6443)
        certificateLifetime = CertificateSchedule.workloadLifetime
        metricsAddress = .ip(.v4(0x7f00_0001), port: 9400)
        reversePrefixes = ["10.244.0.0/16", "10.96.0.0/16"].compactMap { Prefix($0) }
        nodeName = Environment.hostName
    }
}

/// Why the control plane does not start.
public struct ControlPlaneError: Error, Sendable, CustomStringConvertible {
    /// What, where and what to do about it.
    public var description: String

    /// An error with that text.
    init(_ description: String) { self.description = description }
}
