internal import Glibc
internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Serialization
internal import Telemetry

/// Makes containers by a container engine that speaks Docker's API: dockerd, or podman's service.
///
/// Each pod has a sandbox, a container that does nothing and whose network namespace becomes the pod's: addresses, links, rules
/// and capture in it are ours. The pod's other containers join it. Images, root file systems and ends are the engine's.
struct EngineRuntime: PodRuntime {
    let layout: NodeLayout
    let client: EngineClient
    /// The program that runs a command in a container (`skein engine-exec`).
    private let helper: String
    private static let log = Logger("engine")
    /// How long a registry has for one image.
    private static let pullPatience = Duration.seconds(600)
    /// How long an engine may take to notice an end that the kernel has told us.
    private static let endPatience = Duration.seconds(20)

    init(layout: NodeLayout, socket: String, helper: String) {
        self.layout = layout
        self.helper = helper
        client = EngineClient(socket: socket)
    }

    func prepare() throws(SystemError) {
        for directory in [layout.node, layout.pods, layout.logs, layout.images, layout.runtimeRoot] {
            try File.makeDirectory(directory, mode: 0o700)
        }
    }

    private static func path(_ id: String, _ rest: String = "") -> String {
        "/containers/\(PercentEncoding.encoded(id))\(rest)"
    }

    private func labels(_ kind: String, _ uid: String) -> [String: String] {
        [
            EngineContainer.Label.node: layout.runDirectory, EngineContainer.Label.kind: kind,
            EngineContainer.Label.pod: uid,
        ]
    }

    // MARK: Images

    func image(of container: ContainerManifest) throws(WorkloadError) -> ContainerImage? {
        let policy = PullPolicy(container.imagePullPolicy, image: container.image)
        var found = try policy == .always ? nil : inspect(image: container.image)
        if found == nil {
            guard policy != .never else {
                throw WorkloadError(
                    "ErrImageNeverPull",
                    "container image \"\(container.image)\" is not present with pull policy of Never")
            }
            try pull(container.image)
            found = try inspect(image: container.image)
        }
        guard let found, let id = found["Id"]?.string else {
            throw WorkloadError("ErrImagePull", "image \(container.image) is not there after it was pulled")
        }
        return ContainerImage(root: .engine(id), config: .init(found["Config"] ?? [:]))
    }

    private func inspect(image: String) throws(WorkloadError) -> JSON? {
        do throws(EngineError) { return try client.call(.get, "/images/\(PercentEncoding.encoded(image))/json") } catch
        {
            guard error.status != 404 else { return nil }
            throw WorkloadError("ImageInspectError", "image \(image): \(error)")
        }
    }

    private func pull(_ image: String) throws(WorkloadError) {
        let (repository, tag) = PullPolicy.reference(image)
        do throws(EngineError) {
            let query = "fromImage=\(PercentEncoding.encoded(repository))&tag=\(PercentEncoding.encoded(tag))"
            try client.call(.post, "/images/create?\(query)", patience: Self.pullPatience)
        } catch { throw WorkloadError("ErrImagePull", "image \(image): \(error)") }
    }

    /// Makes the image of sandboxes and proxies unless the engine has it.
    private func ensureSandboxImage() throws(WorkloadError) {
        guard try inspect(image: SandboxImage.reference) == nil else { return }
        var links: [(name: String, target: String)] = []
        for case .link(let name, let target) in HostImage.inspect().entries where Self.isProgramDirectory(name) {
            links.append((name, target))
        }
        do throws(EngineError) {
            let answer = try client.send(
                .post, "/images/create?fromSrc=-&repo=\(SandboxImage.repository)&tag=\(SandboxImage.tag)",
                SandboxImage.archive(links: links), type: "application/x-tar", patience: EngineClient.patience)
            // podman 4.3 takes the archive and forgets its name.
            let last = answer.array?.last ?? answer
            if let id = last["id"]?.string ?? last["status"]?.string {
                try client.call(
                    .post,
                    "/images/\(PercentEncoding.encoded(id))/tag?repo=\(SandboxImage.repository)&tag=\(SandboxImage.tag)"
                )
            }
        } catch { throw WorkloadError("FailedCreatePodSandBox", "image of sandboxes: \(error)") }
    }

    /// The directories that a proxy needs which is not one file.
    private static func isProgramDirectory(_ name: String) -> Bool {
        ["opt", "usr"].contains(name) || name.hasPrefix("lib")
    }

    // MARK: Sandboxes

    private func sandboxName(_ uid: String) -> String { "sk-\(NodeLayout.shortName(uid))-sandbox" }

    /// The first process of a pod's sandbox; nil when it does not run.
    private func sandboxProcess(_ uid: String) throws(EngineError) -> Int32? {
        do throws(EngineError) {
            let found = try client.call(.get, Self.path(sandboxName(uid), "/json"))
            guard found["State"]?["Running"]?.bool == true, let pid = found["State"]?["Pid"]?.int, pid > 0 else {
                return nil
            }
            return Int32(exactly: pid)
        } catch {
            guard error.status == 404 else { throw error }
            return nil
        }
    }

    // MARK: Containers

    func run(
        _ plan: ContainerPlan, number: Int
    ) throws(WorkloadError) -> (ContainerRuntime.Instance, notApplied: [String]) {
        let uid = plan.pod.uid
        let bundle = layout.bundle(uid, plan.id)
        let container: EngineContainer
        let log: String
        do {
            try File.makeDirectory(bundle, mode: 0o755)
            let logs = layout.logDirectory(plan.pod, plan.container.name)
            try File.makeDirectory(logs, mode: 0o700)
            log = "\(logs)/\(number).log"
            try File.append(log, [], mode: 0o600)
            container = try describe(plan, bundle: bundle)
        } catch let error as WorkloadError { throw error } catch {
            throw WorkloadError("CreateContainerError", "\(plan.container.path): \(error)")
        }
        do throws(EngineError) {
            if !plan.pod.usesHostNetwork, try sandboxProcess(uid) == nil {
                throw EngineError(status: Self.sandboxGone, message: "the pod's sandbox has ended")
            }
            try client.call(.post, "/containers/create?name=\(plan.id)", container.json)
        } catch {
            throw WorkloadError(
                error.status == Self.sandboxGone ? Self.sandboxGoneReason : "CreateContainerError", error.message)
        }
        do throws(EngineError) { try client.call(.post, Self.path(plan.id, "/start")) } catch {
            remove(id: plan.id)
            throw WorkloadError("RunContainerError", error.message)
        }
        let instance = instance(plan.id, bundle: bundle, log: log)
        if plan.proxy == nil, Self.user(of: instance.pid) == ContainerManifest.proxyUser {
            remove(id: plan.id)
            throw .field(
                plan.container.path,
                "image \(plan.container.image) runs as user 1337, which is the proxy's; set runAsUser")
        }
        return (instance, [])
    }

    private static let sandboxGone = -1
    private static let proxyPath = "/skein-proxy"
    /// The reason for which a pod needs another sandbox.
    static let sandboxGoneReason = "SandboxChanged"

    /// The user of a process; nil when it has ended.
    private static func user(of pid: Int32) -> UInt32? {
        guard pid > 0, let text = try? File.text("/proc/\(pid)/status"),
            let line = text.split(separator: "\n").first(where: { $0.hasPrefix("Uid:") })
        else { return nil }
        return line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { UInt32($0) }
    }

    private func describe(_ plan: ContainerPlan, bundle: String) throws -> EngineContainer {
        let (pod, manifest) = (plan.pod, plan.container)
        var image = SandboxImage.reference
        var arguments: [String]
        if let proxy = plan.proxy {
            try ensureSandboxImage()
            arguments = try plan.proxyArguments(proxy, bundle: bundle)
        } else {
            guard case .engine(let id) = plan.image.root else {
                throw WorkloadError("CreateContainerError", "image \(manifest.image) is not the engine's")
            }
            image = id
            arguments = plan.image.arguments(manifest)
        }
        guard !arguments.isEmpty else {
            throw WorkloadError.field(
                "\(manifest.path).command", "is missing, and image \(manifest.image) does not say what to run")
        }
        var container = EngineContainer(
            image: image, arguments: arguments,
            network: pod.usesHostNetwork ? "host" : "container:\(sandboxName(pod.uid))")
        container.processes = plan.target.map { "container:\($0.id)" }
        container.environment = plan.environment
        container.hostname = pod.hostname
        container.labels = labels(EngineContainer.Label.container, pod.uid)
        container.mounts = try plan.ownMounts(bundle: bundle)
        container.resources = manifest.resources
        container.capabilities = manifest.capabilities
        container.groups = manifest.groups
        container.isRootReadOnly = manifest.hasReadOnlyRoot
        container.isConfined = manifest.isConfined
        container.allowsPrivilegeEscalation = manifest.allowsPrivilegeEscalation
        container.hasTerminal = manifest.hasTerminal
        container.hasInput = manifest.hasInput
        container.endsInputOnce = manifest.endsInputOnce
        container.directory = manifest.workingDirectory
        if let uid = manifest.uid { container.user = "\(uid):\(manifest.gid ?? 0)" }
        guard let proxy = plan.proxy else { return container }
        // Outside of what is mounted read-only below.
        container.arguments[0] = Self.proxyPath
        for index in container.mounts.indices where container.mounts[index].destination == SidecarPlan.programPath {
            container.mounts[index].destination = Self.proxyPath
        }
        container.user = "\(ContainerManifest.proxyUser):\(ContainerManifest.proxyUser)"
        container.temporary = ["/tmp": "rw,mode=1777,size=16m"]
        if File.exists(ContainerPlan.systemRoots) {
            container.mounts.append(.bind(ContainerPlan.systemRoots, to: ContainerPlan.systemRoots, readOnly: true))
        }
        if !proxy.isStatic {
            for case .directory(let name) in plan.host.entries where Self.isProgramDirectory(name) {
                // First: the program itself is mounted below it.
                container.mounts.insert(.bind("/" + name, to: "/" + name, readOnly: true), at: 0)
            }
        }
        return container
    }

    /// What is known of a container that was started, also when it has ended since.
    private func instance(_ id: String, bundle: String, log: String) -> ContainerRuntime.Instance {
        let found = try? client.call(.get, Self.path(id, "/json"))
        let pid = found?["State"]?["Pid"]?.int.flatMap { Int32(exactly: $0) } ?? 0
        let start = pid > 0 ? ProcessHandle.startTime(of: pid) ?? 0 : 0
        // The process itself is watched: the engine tells the rest when it has ended.
        return .init(
            id: id, pid: pid, pidStart: start, monitor: pid, monitorStart: start, bundle: bundle, log: log)
    }

    func exitStatus(of instance: ContainerRuntime.Instance) -> (code: Int, reason: String?, message: String) {
        do throws(EngineError) {
            let end = try client.call(.post, Self.path(instance.id, "/wait"), patience: Self.endPatience)
            let state = try client.call(.get, Self.path(instance.id, "/json"))["State"]
            let code = end["StatusCode"]?.int ?? state?["ExitCode"]?.int ?? 137
            let isOutOfMemory = state?["OOMKilled"]?.bool == true && code != 0
            return (code, isOutOfMemory ? "OOMKilled" : nil, state?["Error"]?.string ?? "")
        } catch { return (137, "ContainerStatusUnknown", "the engine does not know how it ended: \(error)") }
    }

    @discardableResult
    func remove(id: String) -> String? {
        do throws(EngineError) {
            try client.call(.delete, Self.path(id, "?force=1&v=1"))
            return nil
        } catch {
            // Gone already, or being removed by an earlier call.
            return error.status == 404 || error.status == 409 ? nil : "container \(id): \(error)"
        }
    }

    private func list(_ filter: [String]) throws(EngineError) -> [(name: String, labels: [String: JSON])] {
        let filters: JSON = [
            "label": .array((filter + ["\(EngineContainer.Label.node)=\(layout.runDirectory)"]).map { .string($0) })
        ]
        let answer = try client.call(.get, "/containers/json?all=1&filters=\(PercentEncoding.encoded(filters.text))")
        return (answer.array ?? []).compactMap { item in
            guard let name = item["Names"]?[0]?.string else { return nil }
            return (String(name.drop { $0 == "/" }), item["Labels"]?.object ?? [:])
        }
    }

    func list() -> [String] {
        do throws(EngineError) {
            return try list(["\(EngineContainer.Label.kind)=\(EngineContainer.Label.container)"]).map(\.name)
        } catch {
            Self.log.error("containers cannot be listed", ["error": "\(error)"])
            return []
        }
    }

    func removeAll() -> [String] {
        do throws(EngineError) { return try list([]).compactMap { remove(id: $0.name) } } catch {
            return ["the engine's containers: \(error)"]
        }
    }

    // MARK: Streams

    func execWords(_ id: String, pidFile: String, _ options: ContainerRuntime.ExecOptions) -> [String] {
        [helper, "engine-exec", "--engine", client.socket, "--pid-file", pidFile]
            + (options.hasTerminal ? ["--tty"] : []) + (options.hasInput ? ["--stdin"] : []) + ["--", id]
            + options.command
    }

    func attachWords(_ id: String, _ options: ContainerRuntime.ExecOptions) -> [String]? {
        [helper, "engine-exec", "--engine", client.socket] + (options.hasTerminal ? ["--tty"] : [])
            + (options.hasInput ? ["--stdin"] : []) + ["--", id]
    }

    func reopenLog(_ instance: ContainerRuntime.Instance) {}

    func logs(of instance: ContainerRuntime.Instance, on loop: EventLoop) -> EngineLogs? {
        EngineLogs(socket: client.socket, id: instance.id, file: instance.log, on: loop)
    }
}

extension EngineRuntime: NamespaceSource {
    package func namespace(of pod: PodManifest) throws(WorkloadError) -> String {
        try ensureSandboxImage()
        var sandbox = EngineContainer(
            image: SandboxImage.reference, arguments: [SandboxImage.program], network: "none")
        sandbox.hostname = pod.hostname
        sandbox.labels = labels(EngineContainer.Label.sandbox, pod.uid)
        sandbox.isRootReadOnly = true
        do throws(EngineError) {
            let name = sandboxName(pod.uid)
            if try sandboxProcess(pod.uid) == nil {
                if let problem = remove(id: name) { throw EngineError(status: 0, message: problem) }
                try client.call(.post, "/containers/create?name=\(name)", sandbox.json)
                try client.call(.post, Self.path(name, "/start"))
            }
            guard let pid = try sandboxProcess(pod.uid) else {
                throw EngineError(status: 0, message: "it has ended at once")
            }
            return "/proc/\(pid)/ns/net"
        } catch { throw WorkloadError("FailedCreatePodSandBox", "sandbox of pod \(pod.fullName): \(error)") }
    }

    package func release(uid: String) throws(WorkloadError) {
        if let problem = remove(id: sandboxName(uid)) { throw WorkloadError("NetworkNotRemoved", problem) }
    }

    package func keep(only uids: Set<String>) throws(WorkloadError) {
        do throws(EngineError) {
            for (name, labels) in try list(["\(EngineContainer.Label.kind)=\(EngineContainer.Label.sandbox)"]) {
                guard let uid = labels[EngineContainer.Label.pod]?.string, !uids.contains(uid) else { continue }
                if let problem = remove(id: name) { throw EngineError(status: 0, message: problem) }
            }
        } catch { throw WorkloadError("NetworkNotRemoved", "\(error)") }
    }
}
