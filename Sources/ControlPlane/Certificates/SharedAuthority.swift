import IO
import Identity
import Serialization
import Store
import Telemetry

/// The mesh's authority as all servers of one store have it: a step that one of them takes the others take over.
///
/// A step is left in the store only if it goes out from what is there: of two servers that take one at once the first has taken it, and the
/// other takes that over. `@unchecked Sendable`: belongs to one loop (docs/threads.md).
final class SharedAuthority: @unchecked Sendable {
    /// How long after a failure it is tried again.
    static let patience = Duration.seconds(1)
    /// How often it is looked at the store although nothing was heard: a word is missed while etcd is away.
    static let pause = Duration.seconds(30)

    private let store: EtcdStore
    private let authority: MeshAuthority
    private let loop: EventLoop
    private let log = Logger("mesh-ca")
    private let shared = SharedIdentity.mesh
    /// What all have, as this server knows it.
    private var base: [UInt8]
    /// A step from here that is not in the store yet.
    private var waiting: [UInt8]?
    private var mustLook = true
    private var isBusy = false
    private var hasFailed = false
    private var timer: LoopTimer?
    private var isStopped = false

    /// - Parameter authority: what it has is what the store had when this server began.
    init(_ authority: MeshAuthority, in store: EtcdStore, on loop: EventLoop) {
        (self.authority, self.store, self.loop) = (authority, store, loop)
        base = shared.text([authority.authority.secretJSON.bytes])
        authority.onSave = { [weak self] in self?.tell($0) }
        store.onCommon = { [weak self, shared] in if $0 == shared.name { self?.look() } }
    }

    /// Begins to follow what the others do.
    func start() {
        look()
        timer = loop.schedule(after: Self.pause) { [weak self] in
            guard let self, !self.isStopped else { return }
            self.start()
        }
    }

    /// Ends it; a step that is not in the store yet is taken anew by who goes on.
    func stop() {
        isStopped = true
        timer?.cancel()
    }

    private func tell(_ bytes: [UInt8]) {
        waiting = shared.text([bytes])
        act()
    }

    private func look() {
        mustLook = true
        act()
    }

    private func act() {
        guard !isBusy, !isStopped, waiting != nil || mustLook else { return }
        isBusy = true
        Task(executorPreference: loop) {
            await self.steps()
            self.isBusy = false
            self.act()
        }
    }

    private func steps() async {
        do throws(StoreError) {
            try await step()
            hasFailed = false
        } catch {
            if !hasFailed {
                log.error("the servers do not agree on the mesh's authority; it is tried again", ["error": "\(error)"])
            }
            hasFailed = true
            await loop.sleep(for: Self.patience)
        }
    }

    private func step() async throws(StoreError) {
        guard let own = waiting else {
            mustLook = false
            do throws(StoreError) {
                // Without a key nothing is shared, and there is nothing to take.
                guard let now = try await store.common(shared.name), waiting == nil else { return }
                take(now)
            } catch {
                mustLook = true
                throw error
            }
            return
        }
        let now = try await store.replaceCommon(shared.name, base, with: own)
        guard now != own else {
            base = own
            if waiting == own { waiting = nil }
            return
        }
        waiting = nil
        log.warning("another server was first with the mesh's authority: what was done here is taken back")
        take(now)
    }

    /// What cannot be taken stays what this server does not know: it will replace nothing by its own.
    private func take(_ now: [UInt8]) {
        guard now != base else { return }
        do {
            try authority.take(try shared.only(now))
            base = now
        } catch {
            log.error("the mesh's authority of the other servers cannot be taken over", ["error": "\(error)"])
        }
    }
}

extension ControlPlaneServer {
    /// Has the mesh's authority in common with the other servers of the store, unless it is another one.
    func share(_ authority: MeshAuthority) {
        guard let store = store as? EtcdStore, sharesMeshAuthority else { return }
        let sharing = SharedAuthority(authority, in: store, on: loop)
        sharedAuthority = sharing
        authority.advances = { [weak self] in self?.decides == true }
        store.report(.roots) { [weak authority] in
            authority.map { RootsReport(bundle: $0.authority.bundle.version, late: $0.late).json.bytes } ?? []
        } changed: { [weak authority] reports in
            let read = reports.sorted { $0.key < $1.key }.map { ($0.key, RootsReport($0.value)) }
            authority?.othersLate = { [weak authority] in
                let version = authority?.authority.bundle.version ?? ""
                return read.flatMap { server, report in report.late(for: version, server: server) }
            }
        }
        sharing.start()
    }
}

/// What a server tells the others of the roots: which it has itself, and who of those that are connected with it has not taken them.
struct RootsReport: Equatable {
    /// Named at most.
    static let lateMax = 100

    /// The version of the roots that the server has.
    var bundle: String
    /// Who has others, as far as it is named.
    var late: [BundleHolder]

    init(bundle: String, late: [BundleHolder]) {
        self.bundle = bundle
        self.late = Array(late.prefix(Self.lateMax))
    }

    /// What cannot be read has no roots that anybody waits for in vain: it is late until the server says something else.
    init(_ bytes: [UInt8]) {
        let json = (try? JSON.parse(bytes)) ?? .null
        bundle = json["bundle"]?.string ?? ""
        late = (json["late"]?.array ?? []).prefix(Self.lateMax).map { entry in
            BundleHolder(
                node: entry["name"]?.string ?? "", version: entry["bundle"]?.string ?? "",
                isClient: entry["client"]?.bool ?? false)
        }
    }

    var json: JSON {
        [
            "bundle": .string(bundle),
            "late": .array(
                late.map { ["name": .string($0.node), "bundle": .string($0.version), "client": .bool($0.isClient)] }),
        ]
    }

    /// Who must be waited for before a root of these signs: the server itself when it has not heard of it.
    func late(for version: String, server: String) -> [BundleHolder] {
        guard bundle == version else { return [BundleHolder(node: "of server \(server)", version: bundle)] }
        return late.filter { $0.version != version }
    }
}
