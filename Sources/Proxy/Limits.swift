internal import IO

/// The proxy's own bounds, where a configuration leaves them out.
enum Limits {
    /// Descriptors from this number on are for upstream connections, the admin page and files: a downstream connection
    /// that gets one is refused (ATK-10).
    static let descriptorsForConnections: Int32 = {
        let limit = Environment.raiseDescriptorLimit().now
        return Int32(clamping: limit - min(descriptorsReserved, limit / 8))
    }()

    /// Descriptors kept back.
    private static let descriptorsReserved: UInt64 = 256

    /// The least room a read gets; less would cut a usual head in two.
    static let readMinimumBytes = 2048

    /// Who may look at requests as they happen (`/tap`) at the same time.
    static let tapSessions = 4
    /// Events that one of them may ask for in a second.
    static let tapRate = 2_000
    /// Bytes of events that wait for one of them.
    static let tapBytes = 512 << 10

    /// Events of one span; later ones are left out.
    static let spanEvents = 32

    /// From this size on a body piece is written straight from the buffer it was read into.
    ///
    /// Half a block: below it one copy is cheaper than a second system call.
    static let directWriteBytes = 8192

    /// Bytes waiting in one direction of one stream before we stop reading the other side.
    ///
    /// What `per_connection_buffer_limit_bytes` of a listener or cluster leaves out. Envoy's default is 1 MiB; 64 KiB fills a 10 ms path at 50 Mbit/s. What is read already goes beyond it, one read at most: a large block of
    /// `BlockPool`.
    static let bufferBytes = 65_536

    /// Body that a filter may keep of one message (Envoy: `per_connection_buffer_limit_bytes`, 1 MiB); beyond it 413 or 500.
    static let filterBufferBytes = 1_048_576

    /// The most that a filter's own configuration may let a stream hold.
    static let configuredBufferBytes = 67_108_864

    /// Fields of a response with what an authorization service adds, where `enforce_response_header_limits` is set; Envoy's default for
    /// responses of upstreams.
    static let checkedResponseFields = 100
    /// Their bytes, likewise.
    static let checkedResponseBytes = 61_440

    /// Request body kept for a retry (Envoy: the connection's buffer limit, which takes its place where one is configured).
    static let retryBufferBytes = 65_536

    /// Pieces of a body below this size are put together before they go on.
    static let gatheredBytes = 1024

    /// Reads of one connection before the others get their turn.
    static let readsPerTurn = 16

    /// Turns whose writes wait for each other: so much later than it could does an answer leave at most.
    static let turnsPerFlush = 16

    /// Bytes a client may send ahead while its request is being answered: pipelined requests.
    static let pipelineBytes = 16_384

    /// How long a closed connection still swallows bytes, so that the peer reads our last answer (RFC 9112 §9.6).
    static let lingerDuration: Duration = .seconds(1)

    /// File descriptors below which a proxy under load runs out: 8,000 requests at work.
    static let descriptorsWanted: UInt64 = 16_384

    /// Filter chains of a listener beyond which those that carry bytes are put to work by their first connection.
    static let chainsAtWorkAtOnce = 32

    /// Versions of a listener after which its many filter chains that nobody has used yet are made anew, together.
    static let listenerPatches = 64

    /// Wait after `accept` failed for want of descriptors.
    static let acceptPause: Duration = .milliseconds(100)

    /// Hosts of one cluster that are asked for load reports out of band: each takes a connection.
    static let hostReportStreams = 4096

    /// Servers that gRPC services name themselves (`google_grpc`): each gets a cluster.
    static let implicitClusters = 1000

    /// Virtual hosts of one route configuration that requests may ask a management server for.
    static let demandedHostsMax = 10_000

    /// Clusters that requests and connections may ask management servers for (`on_demand`), those that do not exist included.
    static let demandedClustersMax = 10_000

    /// A cluster that came on demand leaves when nothing has gone through it for so long.
    static let demandedClusterIdle: Duration = .seconds(30 * 60)

    /// How long it is remembered that a management server does not know a cluster; after that it is asked again.
    static let missingClusterMemory: Duration = .seconds(60)

    /// How long a question for a cluster stands that a management server does not answer.
    static let askedClusterMemory: Duration = .seconds(5 * 60)

    /// How often it is looked which clusters nobody uses.
    static let demandSweepInterval: Duration = .seconds(60)

    /// Bounds that one histogram may be given.
    static let histogramBuckets = 256
    /// Names under which connections to one host are kept apart (`auto_sni`) before those out of use are closed.
    static let serverNamesPerHost = 64

    /// Virtual clusters and routes that have metrics of their own.
    static let routeMetrics = 10_000

    /// Combinations of labels of standard metrics (ATK-19); one of requests takes half a kilobyte for each loop that counts in it.
    static let standardSeries = 10_000
    /// Addresses whose workload is asked for.
    static let workloadPeers = 10_000
    /// Computed labels of one filter.
    static let standardTags = 16
    /// Bytes of a label that peers have a say in.
    static let standardLabelBytes = 256

    /// How long a TLS handshake may take where a filter chain says nothing.
    static let handshakeTimeout: Duration = .seconds(10)

    /// Verified leaves that one TLS context remembers: some 2 KiB each.
    static let verifiedLeaves = 10_000

    /// How often files of certificates and keys are looked at.
    static let fileCheckInterval: Duration = .seconds(1)

    /// Bytes waiting for a client from which on the overload manager may end its connection.
    static let expensiveBytes = 16_384

    /// Lines of one log that wait on one loop for a slow reader; beyond it lines are dropped and counted.
    static let logBufferBytes = 1_048_576

    /// Records that wait for one collector; beyond it they are dropped and counted.
    static let exportQueueBytes = 4_194_304

    /// What a collector may answer.
    static let collectorAnswerBytes = 65_536

    /// What the recorder keeps of one request: path, one value of a field, one name, and how many fields; more is cut.
    static let recordedPathBytes = 1024
    static let recordedValueBytes = 256
    static let recordedNameBytes = 256
    static let recordedHeaders = 32
    /// All that the recorder keeps; beyond it the oldest go, however few they are.
    static let recorderBytes = 16_777_216
    /// Lines of one answer of `/recorder`.
    static let recorderLines = 10_000

    /// A text that a configuration takes from a file.
    static let dataSourceBytes = 1_048_576

    /// One value in a line of an access log: longer ones are cut (ATK-19).
    static let formatValueBytes = 16_384
    /// Bytes of the file with the last good configuration.
    static let lastGoodBytes = 268_435_456
}
