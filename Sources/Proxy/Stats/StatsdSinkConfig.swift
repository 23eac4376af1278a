internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Upstream

/// A sink of metrics that speaks statsd: `envoy.stat_sinks.statsd` (UDP or TCP), `envoy.stat_sinks.dog_statsd` (UDP, with tags).
struct StatsdSinkConfig: Sendable {
    /// Where lines go.
    enum Target: Sendable {
        case datagrams(IO.SocketAddress)
        case stream(CollectorTarget)
    }

    var target: Target
    /// In front of each name, with a dot.
    var prefix: String
    /// What tags say goes out of names and behind values.
    var tagsValues: Bool
    /// Bytes of lines that one datagram may have together; a single line always goes.
    var datagramBytes: Int

    /// Whether a sink is one of these.
    static func takes(_ any: AnyMessage) -> Bool { any.holds(StatsdSinkMessage.self) || any.holds(DogStatsdSink.self) }

    private typealias StatsdSinkMessage = EnvoyAPI.StatsdSink

    static func compile(_ sinks: [StatsSink], at path: String) throws(ConfigurationError) -> [StatsdSinkConfig] {
        var compiled: [StatsdSinkConfig] = []
        for (index, sink) in sinks.enumerated() {
            guard case .typedConfig(let any)? = sink.configType else { continue }
            let here = "\(path)[\(index)]"
            if any.holds(StatsdSinkMessage.self) {
                let message = try HTTPFilters.unpack(any, as: StatsdSinkMessage.self, at: here)
                compiled.append(try Self(message, at: here + ".typed_config"))
            } else if any.holds(DogStatsdSink.self) {
                let message = try HTTPFilters.unpack(any, as: DogStatsdSink.self, at: here)
                let place = here + ".typed_config"
                guard case .address(let address)? = message.dogStatsdSpecifier else {
                    throw ConfigurationError(at: place + ".address", "is missing")
                }
                compiled.append(
                    Self(
                        target: .datagrams(try Self.address(address, at: place + ".address")),
                        prefix: Self.prefix(message.prefix), tagsValues: true,
                        datagramBytes: Int(clamping: min(message.maxBytesPerDatagram ?? 0, 65_507))))
            }
        }
        return compiled
    }

    private init(target: Target, prefix: String, tagsValues: Bool, datagramBytes: Int) {
        (self.target, self.prefix) = (target, prefix)
        (self.tagsValues, self.datagramBytes) = (tagsValues, datagramBytes)
    }

    private init(_ message: StatsdSinkMessage, at path: String) throws(ConfigurationError) {
        let target: Target
        switch message.statsdSpecifier {
        case .address(let address): target = .datagrams(try Self.address(address, at: path + ".address"))
        case .tcpClusterName(let cluster):
            guard !cluster.isEmpty else { throw ConfigurationError(at: path + ".tcp_cluster_name", "is empty") }
            target = .stream(CollectorTarget(cluster: cluster, authority: cluster, transport: .bytes))
        case nil: throw ConfigurationError(at: path, "address or tcp_cluster_name is needed")
        }
        self.init(target: target, prefix: Self.prefix(message.prefix), tagsValues: false, datagramBytes: 0)
    }

    private static func prefix(_ text: String) -> String { (text.isEmpty ? "envoy" : text) + "." }

    private static func address(_ address: Address, at path: String) throws(ConfigurationError) -> IO.SocketAddress {
        guard case .socketAddress(let socket) = address.address else {
            throw ConfigurationError(at: path, "a socket_address is needed")
        }
        // Datagrams go there whatever the protocol says (Envoy).
        var plain = socket
        plain.protocol = .tcp
        var copy = Address()
        copy.address = .socketAddress(plain)
        return try IO.SocketAddress(compiling: copy, at: path)
    }
}
