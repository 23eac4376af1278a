internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Synchronization
internal import Telemetry
internal import Upstream

/// A request that waits for keys.
///
/// `@unchecked Sendable`: handed from its own loop to whichever has the keys, and back; `keysCame` runs on its own loop.
final class WaitingRequest: @unchecked Sendable {
    private weak var filter: JWTAuthnFilter?
    private weak var stream: HTTPStream?
    private let provider: String
    private let worker: Worker

    init(_ filter: JWTAuthnFilter, _ stream: HTTPStream, _ provider: String) {
        self.filter = filter
        self.stream = stream
        self.provider = provider
        worker = stream.worker
    }

    /// From any loop.
    func keysCame(isThere: Bool) {
        worker.loop.execute { [self] in
            guard let filter, let stream else { return }
            filter.keysCame(stream, provider: provider, isThere: isThere)
            worker.endTurn()
        }
    }
}

/// The keys that a provider publishes: fetched once for the process, kept for `cache_duration`.
///
/// Requests that come while there are none wait for the fetch. With `async_fetch` the keys are there before, and are renewed before they are
/// too old.
final class RemoteKeySet: Sendable {
    static let log = Logger("jwt")

    private struct State {
        var keys: JSONWebKeySet?
        var expires = MonotonicTime.never
        var isFetching = false
        var waiting: [@Sendable (Bool) -> Void] = []
    }

    let cluster: String
    let authority: String
    let path: String
    let timeout: Duration
    let retries: Int
    let backOff: (base: Duration, max: Duration)
    private let cacheDuration: Duration
    /// Nil without `async_fetch`.
    private let failedRefetch: Duration?
    private let counters: JWTCounters
    private let state = Mutex(State())

    init(
        compiling message: RemoteJwks, at path: String, _ context: CompileContext, counters: JWTCounters
    ) throws(ConfigurationError) {
        try FieldCheck.check(
            message, reads: ["http_uri", "cache_duration", "async_fetch", "retry_policy"], at: path)
        guard let uri = message.httpUri, !uri.uri.isEmpty else {
            throw ConfigurationError(at: path + ".http_uri.uri", "is missing")
        }
        guard case .cluster(let cluster) = uri.httpUpstreamType, !cluster.isEmpty else {
            throw ConfigurationError(at: path + ".http_uri.cluster", "is missing")
        }
        guard let timeout = uri.timeout, timeout >= .zero else {
            throw ConfigurationError(at: path + ".http_uri.timeout", "is missing or negative")
        }
        (authority, self.path) = CollectorTarget.split(uri.uri)
        self.cluster = cluster
        self.timeout = timeout
        let duration = message.cacheDuration ?? .seconds(600)
        guard duration > .zero, duration < .seconds(Self.durationMax) else {
            throw ConfigurationError(at: path + ".cache_duration", "must be positive and no age")
        }
        cacheDuration = duration
        if let fetch = message.asyncFetch {
            try FieldCheck.check(
                fetch, reads: ["failed_refetch_duration"], at: path + ".async_fetch")
            let pause = fetch.failedRefetchDuration ?? .seconds(1)
            guard pause > .zero, pause < .seconds(Self.durationMax) else {
                throw ConfigurationError(at: path + ".async_fetch.failed_refetch_duration", "must be positive")
            }
            failedRefetch = pause
        } else {
            failedRefetch = nil
        }
        if let retry = message.retryPolicy {
            try FieldCheck.check(
                retry, reads: ["num_retries", "retry_back_off"], at: path + ".retry_policy")
            retries = Int(min(retry.numRetries ?? 1, 10))
            let base = retry.retryBackOff?.baseInterval ?? .seconds(1)
            let most = retry.retryBackOff?.maxInterval ?? .seconds(10)
            guard base > .zero, most >= base, most < .seconds(Self.durationMax) else {
                throw ConfigurationError(
                    at: path + ".retry_policy.retry_back_off", "base_interval is no part of max_interval")
            }
            backOff = (base, most)
        } else {
            retries = 0
            backOff = (.seconds(1), .seconds(10))
        }
        self.counters = counters
        if failedRefetch != nil, let start = context.onFirstWorker {
            start { [weak self] worker in self?.renew(on: worker) }
        }
    }

    private static let durationMax: Int64 = 100 * 366 * 86_400

    /// The keys, unless they are too old.
    func current(at now: MonotonicTime) -> JSONWebKeySet? {
        state.withLock { $0.expires > now ? $0.keys : nil }
    }

    /// Whether another set has its keys from the same place.
    func isSame(as other: RemoteKeySet) -> Bool {
        cluster == other.cluster && authority == other.authority && path == other.path
    }

    /// Takes the keys that another set of the same place has: a copy of the configuration has fetched none.
    func takeKeys(of other: RemoteKeySet) {
        let (keys, expires) = other.state.withLock { ($0.keys, $0.expires) }
        state.withLock { ($0.keys, $0.expires) = (keys, expires) }
    }

    /// Lets a request wait, and fetches unless that is being done; false when too many wait.
    func wait(_ request: WaitingRequest, on worker: Worker) -> Bool {
        wait(on: worker) { request.keysCame(isThere: $0) }
    }

    /// Fetches unless that is being done, and calls the body with whether there are keys then; false when too many wait.
    func wait(on worker: Worker, _ body: @escaping @Sendable (Bool) -> Void) -> Bool {
        let mustFetch: Bool? = state.withLock { state in
            guard state.waiting.count < JWTLimits.waitingRequests else { return nil }
            state.waiting.append(body)
            defer { state.isFetching = true }
            return !state.isFetching
        }
        guard let mustFetch else { return false }
        if mustFetch { KeySetFetch(self, worker).start() }
        return true
    }

    /// `async_fetch`: fetches now, and again before the keys are too old.
    private func renew(on worker: Worker) {
        let mustFetch: Bool = state.withLock { state in
            defer { state.isFetching = true }
            return !state.isFetching
        }
        if mustFetch { KeySetFetch(self, worker).start() }
    }

    /// A fetch has ended; on the loop that fetched.
    func fetched(_ body: [UInt8]?, on worker: Worker) {
        var keys: JSONWebKeySet?
        if let body {
            do throws(JWTStatus) {
                keys = try JSONWebKeySet(parsing: body)
            } catch {
                Self.log.warning("\(error.text)", ["cluster": cluster, "path": path])
            }
        } else {
            Self.log.warning("keys cannot be fetched", ["cluster": cluster, "path": path])
        }
        (keys == nil ? counters.fetchesFailed : counters.fetched).add(row: worker.index)
        let waiting = state.withLock { state in
            state.isFetching = false
            if let keys {
                state.keys = keys
                // What is renewed in time never is too old (Envoy): a server that is down for long does not stop the service.
                state.expires = failedRefetch == nil ? worker.loop.now + cacheDuration : .never
            }
            defer { state.waiting = [] }
            return state.waiting
        }
        for body in waiting { body(keys != nil) }
        guard let failedRefetch else { return }
        let pause = keys == nil ? failedRefetch : max(cacheDuration - .seconds(5), .seconds(1))
        // Whoever holds the keys is the configuration: when it is gone nothing is fetched any more.
        _ = worker.schedule(after: pause) { [weak self, unowned worker] in self?.renew(on: worker) }
    }
}
