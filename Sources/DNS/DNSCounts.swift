public import Telemetry

/// What a name server has counted since its start; written and read from any thread.
public final class DNSCounts: Sendable {
    /// Queries that came in datagrams, and by TCP.
    public let datagrams = Counter()
    /// Queries that came by TCP.
    public let streamQueries = Counter()
    /// Answers without an error.
    public let successes = Counter()
    /// Answers that there is no such name.
    public let nameErrors = Counter()
    /// Answers SERVFAIL: nobody knew, in time or at all.
    public let failures = Counter()
    /// Answers REFUSED.
    public let refusals = Counter()
    /// Answers to what is no query, or none that we know.
    public let otherAnswers = Counter()
    /// Answers from a zone.
    public let fromZone = Counter()
    /// Answers that had been made before, for the same question.
    public let fromReady = Counter()
    /// Answers of other servers that had been kept.
    public let fromCache = Counter()
    /// Kept answers that were given after their end, because no server answered.
    public let fromStale = Counter()
    /// Answers of other servers.
    public let fromServers = Counter()
    /// Answers with something left out, which the client asks for again by TCP.
    public let truncated = Counter()
    /// Queries of clients that asked more often than they may (`NameSettings.clientRate`).
    public let limited = Counter()
    /// Queries answered SERVFAIL because too many waited for other servers (`DNSServer.pendingMax`, `clientPendingMax`).
    public let crowded = Counter()
    /// Connections closed because there were too many (`DNSServer.streamsMax`).
    public let refusedStreams = Counter()
    /// Answers that the kernel had no room for.
    public let unsent = Counter()
    /// Questions sent to other servers in datagrams.
    public let askedByDatagram = Counter()
    /// Questions sent to other servers by TCP.
    public let askedByStream = Counter()
    /// Questions sent to other servers by TLS.
    public let askedByTLS = Counter()
    /// Questions that a server did not answer in time.
    public let upstreamTimeouts = Counter()
    /// Questions that no server could answer.
    public let upstreamFailures = Counter()
    /// Answers whose question came in other letters than it was asked in.
    public let otherLetters = Counter()
    /// Connections on which TLS did not succeed.
    public let tlsFailures = Counter()
    /// Lines that the query log left out (`QueryLog.linesPerSecond`).
    public let unlogged = Counter()
    /// Answers of other servers that are kept.
    public let cacheEntries = Gauge()
    /// About how much memory they take.
    public let cacheBytes = Gauge()
    /// Things in the settings that are not done.
    public let settingsProblems = Gauge()

    /// Nothing so far.
    public init() {}

    /// All queries that were understood.
    public var queries: UInt64 { datagrams.value + streamQueries.value }

    func asked(_ transport: Upstream.Transport) -> Counter {
        switch transport {
        case .datagrams: askedByDatagram
        case .stream: askedByStream
        case .tls: askedByTLS
        }
    }

    func answered(_ code: UInt8, _ count: UInt64 = 1) {
        switch ResponseCode(rawValue: code) {
        case .success: successes.add(count)
        case .nameError: nameErrors.add(count)
        case .serverFailure: failures.add(count)
        case .refused: refusals.add(count)
        default: otherAnswers.add(count)
        }
    }

    /// All of it in Prometheus' text format.
    public var metrics: String {
        var text = ""
        func family(_ name: String, _ help: String, type: String = "counter", _ values: [(String, UInt64)]) {
            text += "# HELP skein_dns_\(name) \(help)\n# TYPE skein_dns_\(name) \(type)\n"
            for (labels, value) in values { text += "skein_dns_\(name)\(labels) \(value)\n" }
        }
        func one(_ name: String, _ help: String, _ counter: Counter) { family(name, help, [("", counter.value)]) }
        func size(_ name: String, _ help: String, _ gauge: Gauge) {
            family(name, help, type: "gauge", [("", UInt64(clamping: gauge.value))])
        }
        family("queries_total", "Queries for names that were understood.", [("", queries)])
        family(
            "transport_queries_total", "The same by how they came.",
            [("{transport=\"udp\"}", datagrams.value), ("{transport=\"tcp\"}", streamQueries.value)])
        family(
            "answers_total", "Answers by code.",
            [
                ("{code=\"NOERROR\"}", successes.value), ("{code=\"NXDOMAIN\"}", nameErrors.value),
                ("{code=\"SERVFAIL\"}", failures.value), ("{code=\"REFUSED\"}", refusals.value),
                ("{code=\"other\"}", otherAnswers.value),
            ])
        family(
            "sources_total", "Where answers came from.",
            [
                ("{source=\"zone\"}", fromZone.value), ("{source=\"ready\"}", fromReady.value),
                ("{source=\"cache\"}", fromCache.value), ("{source=\"stale\"}", fromStale.value),
                ("{source=\"servers\"}", fromServers.value),
            ])
        one("failures_total", "Answers that nobody could give (SERVFAIL).", failures)
        one("truncated_total", "Answers with something left out.", truncated)
        one("limited_total", "Queries of clients that asked more often than they may.", limited)
        one("crowded_total", "Queries refused because too many waited for other servers.", crowded)
        one("refused_connections_total", "Connections closed because there were too many.", refusedStreams)
        one("unsent_total", "Answers that the kernel had no room for.", unsent)
        family(
            "upstream_queries_total", "Questions sent to other servers.",
            [
                ("{transport=\"udp\"}", askedByDatagram.value), ("{transport=\"tcp\"}", askedByStream.value),
                ("{transport=\"tls\"}", askedByTLS.value),
            ])
        one("upstream_timeouts_total", "Questions that a server did not answer in time.", upstreamTimeouts)
        one("upstream_failures_total", "Questions that no server could answer.", upstreamFailures)
        one("upstream_other_letters_total", "Answers whose question came in other letters (0x20).", otherLetters)
        one("upstream_tls_failures_total", "Connections on which TLS did not succeed.", tlsFailures)
        one("unlogged_total", "Lines that the query log left out.", unlogged)
        size("cache_entries", "Answers of other servers that are kept.", cacheEntries)
        size("cache_bytes", "About how much memory they take.", cacheBytes)
        size("settings_problems", "Things in the settings that are not done.", settingsProblems)
        return text
    }
}
