internal import Etcd
internal import HTTP
internal import IO
internal import Telemetry

// What etcd keeps of the past.
extension EtcdStore {
    /// Has etcd forget what was before `revision` after a while, and so on.
    func scheduleCompaction(of revision: Int64) {
        guard let interval = options.compactionInterval else { return }
        loop.schedule(after: interval) { [weak self] in
            guard let self, !self.isClosed else { return }
            let link = Link(self)
            Task(executorPreference: self.loop) {
                guard let store = link.store else { return }
                await store.compact(upTo: revision)
                store.scheduleCompaction(of: max(store.seen, store.applied))
            }
        }
    }

    /// Has etcd forget what was before a revision of its own; another server may have done so already.
    func compact(upTo revision: Int64) async {
        guard revision > 0 else { return }
        var request = EtcdCompactionRequest()
        request.revision = revision
        do throws(GRPCStatus) {
            _ = try await client.call(.compact, request)
        } catch {
            if !error.message.contains("compacted") {
                log.warning("etcd was not compacted", ["reason": "\(error)"])
            }
        }
    }

    /// The revision of etcd itself that memory stands at.
    var etcdRevision: Int64 { max(seen, applied) }
}
