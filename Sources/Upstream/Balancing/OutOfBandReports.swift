public import Serialization

extension ClusterConfig.ReportedWeights {
    /// How hosts are asked for load reports besides requests: by a stream of `xds.service.orca.v3.OpenRcaService` to each.
    ///
    /// The decisions are here, without clock or random source; the proxy has the streams.
    public struct OutOfBand: Sendable, Hashable {
        /// How often a host is asked to report; above zero.
        public var period: Duration = .seconds(10)
        /// The port of the streams, but for unix sockets; nil is the host's own.
        public var port: UInt16?
        /// `:authority` of the streams; empty is the endpoint's host name, else its address.
        public var authority = ""
        /// By what `transport_socket_matches` choose for the streams; nil is what the endpoint's metadata says.
        public var socketCriteria: JSON?

        /// The longest message of a stream, in bytes.
        public static let messageBytesMax = 64 * 1024
        /// Reports of one host that come faster than this are taken together: the latest counts.
        public static let reportInterval: Duration = .milliseconds(100)
        private static let backOff = BackOff(base: .seconds(1), limit: .seconds(30))

        /// Envoy's defaults.
        public init() {}

        /// When the first stream to a host begins: hosts that come together are not all asked at once.
        ///
        /// - Parameter random: any number of the whole range.
        public func firstWait(random: UInt64) -> Duration { period * (Double(random >> 11) * 0x1p-53) }

        /// A stream on which nothing comes for so long has stalled: two reports may be missed.
        public var silenceMax: Duration { period * 3 }

        /// The wait before a stream is begun again.
        ///
        /// - Parameters:
        ///   - failures: streams that ended in a row without a report, this one included.
        ///   - random: any number of the whole range.
        public static func wait(after failures: UInt32, random: UInt64) -> Duration {
            backOff.wait(beforeRetry: failures, random: random)
        }

        /// `:authority` of a stream to an endpoint of a cluster at an address.
        public func authority(of endpoint: EndpointTable.Endpoint, at address: HostAddress, cluster: String) -> String {
            if !authority.isEmpty { return authority }
            if !endpoint.hostname.isEmpty { return endpoint.hostname }
            if case .ip = address { return "\(address)" }
            // A path is no authority.
            return cluster
        }

        /// Where a stream to an endpoint goes; nil where none can: no resolved address, or a listener of this process.
        public func address(of endpoint: EndpointTable.Endpoint) -> HostAddress? {
            switch endpoint.address {
            case .ip(let address, let own): .ip(address, port: port ?? own)
            case .pipe: endpoint.address
            case .listener, .name: nil
            }
        }
    }
}
