internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Serialization
internal import Workloads

// `skein run`: Docker's words, without Docker.
extension Command {
    private static let detach = Flag("detach", short: "d", "return when it runs, and print its id")
    private static let name = Flag("name", value: "NAME", "what it is called")
    private static let network = Flag(
        "network", value: "NAME", "a network of skein network create, or bridge (default), mesh, host, none")
    private static let publish = Flag(
        "publish", short: "p", value: "[[ADDR:]PORT:]PORT[/PROTOCOL]",
        "a port of this machine that leads to one of its ports")
    private static let environment = Flag("env", short: "e", value: "NAME[=VALUE]", "a variable; without value our own")
    private static let volume = Flag(
        "volume", short: "v", value: "PATH:PATH[:ro]", "a path of this machine, and where it is seen")
    private static let directory = Flag("workdir", short: "w", value: "DIR", "where it starts")
    private static let user = Flag("user", short: "u", value: "UID[:GID]", "as whom it runs")
    private static let hostname = Flag("hostname", value: "NAME", "what it calls itself (default: the name)")
    private static let label = Flag("label", short: "l", value: "NAME=VALUE", "a label")
    private static let restart = Flag("restart", value: "POLICY", "no (default), on-failure, always, unless-stopped")
    private static let entrypoint = Flag("entrypoint", value: "PROGRAM", "a program in place of the image's")
    private static let ip = Flag("ip", value: "ADDRESS", "its IPv4 address")
    private static let ip6 = Flag("ip6", value: "ADDRESS", "its IPv6 address")
    private static let hardware = Flag("mac-address", value: "ADDRESS", "its hardware address")
    private static let alias = Flag("network-alias", value: "NAME", "another name of it on its network")
    private static let host = Flag("add-host", value: "NAME:ADDRESS", "a name that it knows")
    private static let memory = Flag("memory", short: "m", value: "SIZE", "its memory: 64m, 1g")
    private static let processors = Flag("cpus", value: "N", "processors that it may use: 0.5")
    private static let readOnly = Flag("read-only", "it cannot write into its root file system")
    private static let addCapability = Flag("cap-add", value: "NAME", "a capability more")
    private static let dropCapability = Flag("cap-drop", value: "NAME", "a capability less")
    private static let input = Flag("interactive", short: "i", "keep its input open")
    private static let terminal = Flag("tty", short: "t", "give it a terminal")
    private static let removes = Flag("rm", "remove it when it has ended")

    static let run = Command(
        "run", "IMAGE [COMMAND] [ARGUMENT]...", "Run a container on a network of skein network create",
        details: """
            Without -d its output is shown until it ends, and its exit status is ours; 125 when it could not be made, 126 and 127 when its
            program could not be started or was not found. Images are those of skein image import, or the machine's own file system
            (skein up --images host). skein logs NAME and skein exec NAME -- COMMAND work as for any pod; --network mesh makes a pod of the
            mesh, with a sidecar.
            """,
        flags: [
            detach, name, network, publish, environment, volume, directory, user, hostname, label, restart, entrypoint,
            ip,
            ip6, hardware, alias, host, memory, processors, readOnly, addCapability, dropCapability, input, terminal,
            removes,
            .dataDirectory, .runDirectory,
        ], takesProgram: true
    ) { invocation throws(CommandError) in
        let isDetached = invocation.has(detach)
        let pod: JSON
        do throws(WorkloadError) { pod = try wish(invocation).pod() } catch {
            throw CommandError("skein: \(error.message).\nSee 'skein run --help'.", status: 125)
        }
        if !isDetached, invocation.has(input) || invocation.has(terminal) {
            throw CommandError(
                "skein: -i and -t need -d here: start it, then skein exec -it NAME -- COMMAND", status: 125)
        }
        if isDetached, invocation.has(removes) {
            throw CommandError("skein: --rm does not go with -d here: remove it with skein rm -f", status: 125)
        }
        let networkName = invocation.value(network) ?? "bridge"
        return try onLoop { loop throws(CommandError) in
            let start = Start(
                client: KubernetesClient(runDirectory: invocation.runDirectory, on: loop),
                node: NodeClient(runDirectory: invocation.runDirectory, on: loop), loop: loop)
            do throws(CommandError) { try await start.make(pod, on: networkName) } catch {
                throw CommandError(error.message, status: error.status == 1 ? 125 : error.status)
            }
            guard !isDetached else {
                Console.out(start.id + "\n")
                return 0
            }
            let status = try await start.follow()
            if invocation.has(removes) { try await remove(start.name, start.client, on: loop) }
            return status
        }
    }

    private static func wish(_ invocation: Invocation) throws(WorkloadError) -> RunWish {
        guard let image = invocation.operands.first else {
            throw WorkloadError("InvalidContainer", "\"skein run\" requires at least 1 argument")
        }
        let digits = Environment.randomBytes(6).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        var wish = RunWish(name: invocation.value(name) ?? "run-\(digits)", image: image)
        wish.command = Array(invocation.operands.dropFirst())
        wish.entrypoint = invocation.value(entrypoint)
        wish.network = invocation.value(network) ?? "bridge"
        wish.ip = invocation.value(ip)
        wish.ip6 = invocation.value(ip6)
        wish.hardware = invocation.value(hardware)
        wish.aliases = invocation.all(alias)
        wish.ports = invocation.all(publish)
        wish.environment = invocation.all(environment).compactMap { entry in
            if entry.contains("=") { return entry }
            return Environment.variable(entry).map { "\(entry)=\($0)" }
        }
        wish.volumes = invocation.all(volume)
        wish.directory = invocation.value(directory)
        wish.user = invocation.value(user)
        wish.hostname = invocation.value(hostname)
        wish.labels = invocation.all(label)
        wish.restart = invocation.value(restart) ?? "no"
        wish.hosts = invocation.all(host)
        wish.memory = invocation.value(memory)
        wish.processors = invocation.value(processors)
        wish.isReadOnly = invocation.has(readOnly)
        wish.hasInput = invocation.has(input)
        wish.hasTerminal = invocation.has(terminal)
        wish.addedCapabilities = invocation.all(addCapability)
        wish.droppedCapabilities = invocation.all(dropCapability)
        return wish
    }
}

/// The start of one container.
///
/// `@unchecked Sendable`: on one loop.
private final class Start: @unchecked Sendable {
    /// Reasons for which a container does not start, however long one waits.
    private static let failures: Set<String> = [
        "ErrImageNeverPull", "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerError",
        "CreateContainerConfigError", "RunContainerError",
    ]
    private static let patience = Duration.seconds(120)

    let client: KubernetesClient
    private let node: NodeClient
    private let loop: EventLoop
    private(set) var name = ""
    private(set) var id = ""
    private var path: String { ResourceKind.pod.path(namespace: "default", name: name) }

    init(client: KubernetesClient, node: NodeClient, loop: EventLoop) {
        self.client = client
        self.node = node
        self.loop = loop
    }

    /// Makes the container; returns when it runs or has ended, and leaves nothing of one that cannot.
    func make(_ pod: JSON, on network: String) async throws(CommandError) {
        name = pod["metadata"]?["name"]?.string ?? ""
        if !RunWish.predefinedNetworks.contains(network) {
            let found = try await node.call(.get, NodeClient.path("networks", network))
            guard found.isSuccess else {
                throw CommandError("skein: Error response from daemon: \(found.message).", status: 125)
            }
        }
        let answer = try await client.call(.post, ResourceKind.pod.path(namespace: "default"), body: pod)
        if answer.status == 409 {
            throw CommandError(
                "skein: Error response from daemon: Conflict. The container name \"/\(name)\" is already in use. You have to remove (or rename) that container to be able to reuse that name.",
                status: 125)
        }
        guard answer.isSuccess else { throw CommandError("skein: Error response from daemon: \(answer.message)") }
        id = (answer.json["metadata"]?["uid"]?.string ?? "").filter { $0 != "-" }
        let deadline = MonotonicTime.now + Self.patience
        while MonotonicTime.now < deadline {
            guard let problem = try await problem() else { return }
            if let failure = problem.failure {
                try await Command.remove(name, client, on: loop)
                throw failure
            }
            await loop.sleep(for: .milliseconds(30))
        }
        throw CommandError(
            "skein: container \(name) did not start within \(Self.patience); see skein describe pod \(name)")
    }

    /// Nil when the container has been started; else why not, if that will not change.
    private func problem() async throws(CommandError) -> (failure: CommandError?, Void)? {
        let answer = try await client.call(.get, path)
        guard answer.isSuccess else { throw CommandError("skein: Error response from daemon: \(answer.message)") }
        switch ContainerView(KubernetesObject(json: answer.json)).state {
        case .running, .exited: return nil
        case .created(let reason?) where Self.failures.contains(reason):
            let waiting = answer.json["status"]?["containerStatuses"]?[0]?["state"]?["waiting"]
            return (Self.failure(waiting?["message"]?.string ?? reason), ())
        case .created: break
        }
        let events = try await client.call(
            .get, "/api/v1/namespaces/default/events",
            query: [("fieldSelector", "involvedObject.name=\(name),reason=FailedCreatePodSandBox")])
        let uid = answer.json["metadata"]?["uid"]
        let event = (events.json["items"]?.array ?? []).first { $0["involvedObject"]?["uid"] == uid }
        return (event.map { Self.failure($0["message"]?.string ?? "no network") }, ())
    }

    /// 127: the program was not found; 126: it could not be started; 125: the container could not be made.
    private static func failure(_ message: String) -> CommandError {
        let status: Int32 =
            message.contains("executable file not found") || message.contains("no such file or directory")
            ? 127 : message.contains("permission denied") ? 126 : 125
        return CommandError("skein: Error response from daemon: \(message).", status: status)
    }

    /// Shows the container's output until it ends; its exit status.
    func follow() async throws(CommandError) -> Int32 {
        let response = try await client.open(path + "/log", query: [("follow", "true")], accept: "text/plain")
        do throws(HTTPError) {
            while let piece = try await response.next() { Console.out(piece) }
        } catch { throw CommandError("the log of \(name) ended early: \(error)") }
        while true {
            let answer = try await client.call(.get, path)
            guard answer.isSuccess else { throw CommandError("container \(name) was removed", status: 137) }
            if case .exited(let code, _) = ContainerView(KubernetesObject(json: answer.json)).state {
                return Int32(clamping: code)
            }
            await loop.sleep(for: .milliseconds(50))
        }
    }
}
