/// How much the API takes at once.
///
/// Connections and watches follow from the descriptors that the process may have open, or are said by whoever starts it.
public struct APICapacity: Sendable, Hashable {
    /// Connections on all listeners of the API together; the ones that wait for a request give up their places first.
    public var connections: Int
    /// Watches at once; more are answered 429, so that connections are left for other requests.
    public var watches: Int
    /// Commands, attached terminals and forwarded ports at once; more are answered 429.
    public var sessions = 500
    /// Logs that are read at once; more are answered 429.
    public var logs = 500

    /// Watches by default where descriptors allow them: with some 10 KiB each (a TLS connection, its tasks, its place) they take 120 MiB.
    public static let watchesDefault = 12_000

    /// What fits into so many descriptors: three quarters are for connections of the API (the others for proxies, the store, files), and
    /// of those a fifth is left for who does not watch.
    ///
    /// - Parameter watches: as many watches as somebody wants; nil: `watchesDefault`.
    public init(descriptors: Int, watches wanted: Int? = nil) {
        connections = max(64, descriptors / 4 * 3)
        watches = min(wanted ?? Self.watchesDefault, connections / 5 * 4)
    }
}
