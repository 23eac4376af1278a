public import HTTP
internal import IO
internal import Serialization

/// What a watch of a range of keys tells.
public enum EtcdWatchNews: Sendable {
    /// Changes, oldest first; those of one revision come together.
    case events([EtcdEvent], revision: Int64)
    /// The revision to go on from is forgotten: the keys must be read anew.
    case compacted(Int64)
}

extension EtcdClient {
    /// Watches the keys from `key` up to `end`, from a revision on, until the watch breaks or `news` says that it is enough.
    ///
    /// When it throws, begin again after the last revision that was told: etcd keeps what happened meanwhile, so nothing is
    /// missed and nothing comes twice. A silent member is asked for a sign of life and given up when it gives none.
    public func watch(
        from key: [UInt8], to end: [UInt8], after revision: Int64, _ news: (EtcdWatchNews) -> Bool
    ) async throws(GRPCStatus) {
        let connection = try await connected()
        let path = "/etcdserverpb.Watch/Watch"
        let call = try open(path, connection)
        defer { call.cancel() }
        let pulse = Pulse(call, configuration.watchSilence, self)
        defer { pulse.stop() }
        do throws(GRPCStatus) {
            var create = EtcdWatchCreateRequest()
            create.key = key
            create.rangeEnd = end
            create.startRevision = revision &+ 1
            var request = EtcdWatchRequest()
            request.requestUnion = .createRequest(create)
            try await call.send(request.serialized())
            while let bytes = try await call.next() {
                pulse.heard()
                let answer: EtcdWatchResponse = try Self.decoded(bytes, path)
                if answer.canceled {
                    if answer.compactRevision > 0 {
                        _ = news(.compacted(answer.compactRevision))
                        return
                    }
                    throw GRPCStatus(.unavailable, "the watch was cancelled: \(answer.cancelReason)")
                }
                guard !answer.events.isEmpty else { continue }
                if !news(.events(answer.events, revision: answer.header?.revision ?? 0)) { return }
            }
            throw GRPCStatus(.unavailable, "\(connection.endpoint) ended the watch")
        } catch {
            var reason = error
            if pulse.isDead {
                reason = GRPCStatus(.deadlineExceeded, "the watch was silent for \(configuration.watchSilence)")
            }
            if Self.isTokenProblem(reason) || [.unavailable, .deadlineExceeded, .cancelled].contains(reason.code) {
                giveUp(connection, reason)
            }
            throw reason
        }
    }

    /// Asks a silent watch for a sign of life, and ends it when there is none.
    private final class Pulse {
        private let call: GRPCStream
        private let client: EtcdClient
        private let silence: Duration
        private var lastHeard: MonotonicTime
        private var timer: LoopTimer?
        private(set) var isDead = false

        init(_ call: GRPCStream, _ silence: Duration, _ client: EtcdClient) {
            self.call = call
            self.client = client
            self.silence = silence
            lastHeard = client.loop.now
            arm()
        }

        func heard() { lastHeard = client.loop.now }

        func stop() { timer?.cancel() }

        private func arm() {
            timer = client.loop.schedule(after: silence / 3) { [weak self] in self?.beat() }
        }

        private func beat() {
            if client.loop.now - lastHeard > silence {
                isDead = true
                call.cancel()
                return
            }
            var request = EtcdWatchRequest()
            request.requestUnion = .progressRequest(EtcdWatchProgressRequest())
            _ = call.post(request.serialized())
            arm()
        }
    }
}
