public import IO
internal import Serialization

/// The store inside: one SQLite file, and all objects in memory.
///
/// One machine has thousands of objects, not millions: they are read from the file once, and every list is answered from
/// memory. The history of changes lives in memory only: after a restart, watchers of older revisions are told to list anew.
///
/// WAL, `synchronous=FULL`, and group commit: while one transaction is on its way to the disk, on a thread of its own, the
/// writes of the loop gather, and go together as the next one. The file is locked exclusively: two control planes on one
/// file would each trust their memory.
public final class SQLiteStore: ReplicaStore {
    /// How a file is used.
    public struct Options: Sendable {
        /// How many changes are remembered for watchers at most.
        public var historyMax = WatchHub.historyMaxDefault
        /// The loop of all calls.
        ///
        /// With it, writes are settled in groups on a thread of its own; without, each is on the disk when its call returns.
        public var loop: EventLoop?
        /// The key that Secrets are encrypted with; made with a new store.
        ///
        /// Without it nothing is encrypted.
        public var keyFile: String?
        /// Revisions go on above this one: see `floor`.
        public var revisionFloor: Revision = 0
        /// A loop-less store without encryption.
        public init() {}
    }

    /// Writes in one transaction at most: a full disk is found out before memory has run far ahead.
    private static let batchMax = 2_000
    /// Writes a second, on average over the life of a store, up to which `floor` keeps its promise.
    private static let floorRate: Int64 = 1_000
    /// 2026-01-01, from which `floor` counts.
    private static let floorEpoch: Int64 = 1_767_225_600

    private let file: SQLiteFile
    private let loop: EventLoop?
    private let writer: EventLoop?
    private var inFlight = 0
    private let groupCommit: GroupCommit?
    private var isClosed = false

    /// A revision that no store has reached that was last opened before: so that revisions never fall, also when an old
    /// backup was put back.
    public static func floor(seconds: Int64) -> Revision { max(0, seconds - floorEpoch) * floorRate }

    /// Opens or makes the file at `path`.
    ///
    /// A damaged file is refused and left as it is.
    public convenience init(path: String, historyMax: Int = WatchHub.historyMaxDefault) throws(StoreError) {
        var options = Options()
        options.historyMax = historyMax
        try self.init(path: path, options)
    }

    /// Opens or makes the file at `path`.
    public init(path: String, _ options: Options) throws(StoreError) {
        file = try SQLiteFile(path: path, keyFile: options.keyFile)
        loop = options.loop
        groupCommit = options.loop.map { GroupCommit(on: $0) }
        if options.loop != nil {
            do throws(SystemError) { writer = try EventLoop.start(name: "store") } catch {
                throw .failed(path: path, detail: "no thread: \(error)")
            }
        } else {
            writer = nil
        }
        super.init(historyMax: options.historyMax)
        groupCommit?.send = { [weak self] in self?.flush() }
        let (objects, revision) = try file.load()
        replaceAll(objects, revision: revision)
        raise(to: options.revisionFloor)
    }

    deinit {
        guard let writer else { return }
        let file = file
        writer.execute { file.close() }
        writer.stop()
    }

    // MARK: Settling

    override func admit() throws(StoreError) {
        if isClosed { throw .unavailable("\(file.path) is closed") }
    }

    override func settle(isUrgent: Bool) throws(StoreError) {
        guard let groupCommit else {
            try file.commit(unsettled)
            return didSettle(unsettled.count)
        }
        if inFlight == 0 { groupCommit.ask(isUrgent: isUrgent) }
    }

    private func flush() {
        groupCommit?.begin()
        guard inFlight == 0, let writer, let loop else { return }
        let batch = nextBatch(max: Self.batchMax) { _ in true }
        guard !batch.isEmpty else { return }
        inFlight = batch.count
        let file = file
        let link = Link(self)
        writer.execute {
            var failure: StoreError?
            do throws(StoreError) { try file.commit(batch) } catch { failure = error }
            let result = failure
            loop.execute { link.store?.finished(result) }
        }
    }

    /// A way back to the store for the writer's thread, which carries it and does not look.
    private final class Link: @unchecked Sendable {
        private(set) weak var store: SQLiteStore?
        init(_ store: SQLiteStore) { self.store = store }
    }

    private func finished(_ failure: StoreError?) {
        let count = inFlight
        inFlight = 0
        if let failure { return refuseUnsettled(failure) }
        didSettle(count)
        flush()
    }

    // MARK: Copies and the end

    /// Copies the store as it is on the disk now to a new file, with other files beside it in the copy; see `SQLiteBackup`.
    func copy(to path: String, with files: [String: [UInt8]]) async throws(StoreError) {
        try await settled()
        guard let writer else { return try file.copy(to: path, with: files) }
        let file = file
        let failure: StoreError? = await withCheckedContinuation { continuation in
            writer.execute {
                do throws(StoreError) {
                    try file.copy(to: path, with: files)
                    continuation.resume(returning: nil)
                } catch {
                    continuation.resume(returning: error)
                }
            }
        }
        if let failure { throw failure }
    }

    /// Settles what is written, brings everything from the write-ahead log into the file, and lets go of it.
    override public func close() async {
        guard !isClosed else { return }
        // What cannot be settled was refused, and its writers were told.
        try? await settled()
        isClosed = true
        groupCommit?.stop()
        guard let writer else { return file.close() }
        let file = file
        await withCheckedContinuation { continuation in
            writer.execute {
                file.close()
                continuation.resume()
            }
        }
    }
}
