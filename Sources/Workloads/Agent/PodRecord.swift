internal import IO
internal import Identity
internal import KubernetesAPI
internal import Serialization

/// A pod of this node.
///
/// `@unchecked Sendable`: belongs to the agent and is touched on its loop alone (docs/threads.md).
final class PodRecord: @unchecked Sendable {
    /// The object as the API last had it.
    var object: KubernetesObject
    /// As it was read; containers that are added to it while it runs join it.
    var pod: PodManifest
    /// Containers that were to be added, and cannot be run.
    var refusedContainers: Set<String> = []
    let role: PodLifecycle.ProxyRole
    var life: PodLifecycle
    var facts: PodFacts
    var place: PodPlace?
    let startedAt: Int64
    /// Runs of containers that the runtime has, by container name.
    var instances: [String: ContainerRuntime.Instance] = [:]
    /// How often each container was started, counting failed tries: names the next run's log and id.
    var runs: [String: Int] = [:]
    /// Runs whose log there is, oldest first.
    var logs: [String: [Int]] = [:]
    var watches: [String: ExitWatch] = [:]
    /// What carries output of containers into their logs, where the monitor does not.
    var logTasks: [String: Task<Void, Never>] = [:]
    var timer: LoopTimer?
    var isPreparing = false
    /// How often it got a sandbox anew.
    var sandboxes = 0
    var isRemoved = false
    /// Keeps an older content of a volume from replacing a newer one.
    let volumes = VolumeEditions()
    /// The status that the API has, as far as we know.
    var writtenStatus = JSON.null
    var isWritingStatus = false
    /// The listening xDS socket of the pod's proxy.
    var socket: Socket?
    /// Carries its proxy's streams to a control plane elsewhere.
    var carrier: Task<Void, Never>?
    /// The pod's key and certificate; nil for a pod without a proxy.
    var identity: PodIdentity?
    /// The state of the certificate that was told last.
    var warnedOf: CertificateHealth?
    /// When the endpoints are taken for drained although nobody said so.
    var drainDeadline: MonotonicTime?
    /// The latest of its proxy's recorded requests that were collected, in milliseconds since 1970.
    var recordedUntil: Int64 = 0

    init(object: KubernetesObject, pod: PodManifest, role: PodLifecycle.ProxyRole, facts: PodFacts, startedAt: Int64) {
        self.object = object
        self.pod = pod
        self.role = role
        self.facts = facts
        self.startedAt = startedAt
        life = PodLifecycle(pod, proxy: role)
    }

    /// The container of that name, the injected sidecar included.
    func container(_ name: String) -> ContainerManifest? {
        if name == SidecarPlan.containerName { return .sidecar }
        return (pod.initContainers + pod.containers + pod.ephemeralContainers).first { $0.name == name }
    }

    /// Why a container has not started, as its status last said.
    func waitingReason(_ container: String) -> String {
        let states = ["containerStatuses", "initContainerStatuses"].flatMap { writtenStatus[$0]?.array ?? [] }
        let state = states.first { $0["name"]?.string == container }?["state"]
        return state?["waiting"]?["reason"]?.string ?? "ContainerCreating"
    }
}

/// Calls once when a process has ended.
final class ExitWatch: ReadinessHandler {
    private let handle: ProcessHandle
    private var registration: Registration?
    private var body: (() -> Void)?

    init(_ handle: ProcessHandle, on loop: EventLoop, _ body: @escaping () -> Void) throws(SystemError) {
        self.handle = handle
        self.body = body
        registration = try loop.register(handle.pidfd, self)
    }

    func ready(_ readiness: Readiness) {
        // Registering tells of a process that has ended already too; one that runs is not readable.
        guard readiness.contains(.readable), !handle.isRunning else { return }
        let body = body
        cancel()
        body?()
    }

    func cancel() {
        registration?.cancel()
        registration = nil
        body = nil
    }
}

extension ContainerManifest {
    /// The injected proxy: no capability, no privilege, its own user.
    static let sidecar = ContainerManifest(
        path: "sidecar", name: SidecarPlan.containerName, image: SidecarPlan.image, imagePullPolicy: "Never",
        command: [],
        arguments: [], workingDirectory: "/", environment: [], environmentSources: [], mounts: [], ports: [:],
        resources: .init(), uid: proxyUser, gid: proxyUser, groups: [], capabilities: [], hasReadOnlyRoot: true,
        isConfined: true, allowsPrivilegeEscalation: false, probes: [:], preStop: nil, isSidecar: true,
        isCaptureInit: false)
}
