public import IO

/// How the control plane runs.
public struct ControlPlaneOptions: Sendable {
    /// Where `control/` is, with the database and the authority.
    public var dataDirectory: String
    /// Where the unix sockets are made.
    public var runDirectory: String
    /// Where kubectl finds the API.
    public var apiAddress: SocketAddress
    /// Where proxies of other machines subscribe, with mTLS; nil: only over pods' own sockets.
    public var discoveryAddress: SocketAddress?
    /// Metrics and overview.
    public var metricsAddress: SocketAddress
    /// The addresses of services and pods, whose reverse names are answered here.
    public var reversePrefixes: [Prefix]
    /// The node beside this API server: pods without another one run there.
    public var nodeName: String

    /// The usual options.
    public init(dataDirectory: String, runDirectory: String) {
        self.dataDirectory = dataDirectory
        self.runDirectory = runDirectory
        apiAddress = .ip(.v4(0x7f00_0001), port: 6443)
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
