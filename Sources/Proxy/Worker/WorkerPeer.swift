/// Another worker, as a worker knows it; the process owns them all.
struct WorkerPeer: Sendable {
    let index: Int
    private(set) weak var handle: WorkerHandle?

    init(_ handle: WorkerHandle) {
        index = handle.index
        self.handle = handle
    }
}
