internal import Glibc
internal import IO
internal import Serialization

/// Ends all containers of a node: SIGTERM to all pods at once, a while for them to end, then SIGKILL; proxies and other
/// sidecars after the rest of their pod.
///
/// Blocking. It goes by the journals alone, so that it works when no agent runs.
struct Shutdown {
    /// The longest time that all of it takes before SIGKILL, whatever the pods' grace periods say.
    static let longest = Duration.seconds(10)
    private static let interval: Int32 = 20

    /// One container that runs.
    struct Member: Sendable, Hashable {
        /// Whether it ends after the other containers of its pod.
        var isSidecar: Bool
        var instance: ContainerRuntime.Instance
    }

    /// One pod with what runs of it.
    struct Pod: Sendable, Hashable {
        var graceSeconds: Int
        var members: [Member]

        /// The pod of a journal.
        init(_ journal: PodJournal, _ manifest: PodManifest) {
            graceSeconds = manifest.terminationGraceSeconds
            let sidecars = Set(manifest.initContainers.filter(\.isSidecar).map(\.name) + [SidecarPlan.containerName])
            members = journal.instances.sorted { $0.key < $1.key }.map {
                Member(isSidecar: sidecars.contains($0.key), instance: $0.value)
            }
        }

        init(graceSeconds: Int, members: [Member]) {
            self.graceSeconds = graceSeconds
            self.members = members
        }

        /// Time from SIGTERM to SIGKILL.
        var grace: Duration { min(.seconds(max(0, graceSeconds)), Shutdown.longest) }

        /// Those whose turn it is: sidecars when nothing else runs.
        func due(_ isRunning: (Member) -> Bool) -> [Member] {
            let left = members.filter(isRunning)
            let first = left.filter { !$0.isSidecar }
            return first.isEmpty ? left : first
        }
    }

    private let pods: [Pod]

    init(_ pods: [Pod]) { self.pods = pods }

    /// All pods that have a journal.
    init(_ layout: NodeLayout) {
        pods = ((try? File.list(layout.pods)) ?? []).compactMap { uid in
            // What cannot be read cannot be asked: the runtime's own list, which is removed afterwards, has it still.
            guard let bytes = try? File.read(layout.journal(uid)), let json = try? JSON.parse(bytes),
                let journal = PodJournal(json), let manifest = try? PodManifest(journal.object)
            else { return nil }
            return Pod(journal, manifest)
        }
    }

    /// Returns when all have ended, or have got SIGKILL.
    func run() {
        var handles: [Member: ProcessHandle] = [:]
        for member in pods.flatMap(\.members) {
            if let handle = ContainerRuntime.handle(member.instance) { handles[member] = handle }
        }
        let start = MonotonicTime.now
        var asked: Set<Member> = []
        while true {
            var isWaiting = false
            for pod in pods {
                let due = pod.due { handles[$0]?.isRunning ?? false }
                guard !due.isEmpty else { continue }
                isWaiting = true
                // The whole pod shares one grace period, as in Kubernetes.
                let isOverdue = MonotonicTime.now - start >= pod.grace
                for member in due where isOverdue || asked.insert(member).inserted {
                    // One that has just ended is what we want; others are killed with the runtime's help afterwards.
                    try? handles[member]?.signal(isOverdue ? SIGKILL : SIGTERM)
                }
            }
            // A process that survives SIGKILL hangs in the kernel: waiting longer does not help.
            guard isWaiting, MonotonicTime.now - start < Self.longest + .seconds(2) else { return }
            _ = poll(nil, 0, Self.interval)
        }
    }
}
