internal import ControlPlane
internal import DNS
internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Serialization
internal import Telemetry
internal import Workloads

/// Names for the pods of a joined node: an unprivileged process with sockets that the agent has bound, which is told the
/// services over its standard input, and answers with what it has when the control plane is away.
///
/// `@unchecked Sendable`: belongs to the agent's loop.
final class NameServer: @unchecked Sendable {
    /// What a new one is told first, besides services.
    private var told: JSON
    /// The services that have names, as they were told last; nil: nothing is known of services yet.
    private var services: [String: JSON]?
    private let loop: EventLoop
    private let log = Logger("names")
    private var sockets: [Socket] = []
    private var process: ProcessHandle?
    private var stream: SocketStream?
    /// What it has not been told of services.
    private var news: Set<String> = []
    /// Whether it has been told nothing yet.
    private var isNew = true
    private var isFurtherNew = false
    private var isDirty = false
    private var isWriting = false
    private var isStopping = false

    /// Answers on port 53 of those addresses, the ranges of `reverse` included.
    init(_ addresses: [IPAddress], reverse: [Prefix], on loop: EventLoop) throws(SystemError) {
        self.loop = loop
        told = [
            "reverse": .array(reverse.map { .string($0.description) }),
            "servers": .array(addresses.map { .string($0.description) }),
        ]
        for address in addresses {
            let place = SocketAddress.ip(address, port: 53)
            sockets += [try Socket.datagram(on: place, reusePort: true), try Socket.listen(on: place, reusePort: true)]
        }
    }

    /// Starts the process, and again whenever it has ended.
    func run() async {
        var pause = Duration.milliseconds(100)
        while !isStopping {
            do throws(SystemError) {
                let (ours, theirs) = try Socket.pair()
                defer { theirs.close() }
                var command = Child.Command([try File.readLink("/proc/self/exe"), "name-server"])
                command.user = (ControlPlaneProcess.userID, ControlPlaneProcess.userID)
                command.workingDirectory = "/"
                command.isSessionLeader = true
                command.descriptors = [0: theirs.fd, 2: 2]
                for (index, socket) in sockets.enumerated() { command.descriptors[Int32(3 + index)] = socket.fd }
                let started = ProcessHandle(adopting: try Child(command))
                process = started
                stream = try SocketStream(ours, on: loop)
                (isNew, isDirty) = (true, services != nil)
                flush()
                while started.isRunning, !isStopping { await loop.sleep(for: .milliseconds(250)) }
                Process.reap(started.pid)
                guard !isStopping else { return }
                log.error("the name server has ended", ["pid": "\(started.pid)"])
            } catch { log.error("the name server cannot be started", ["error": "\(error)"]) }
            await loop.sleep(for: pause)
            pause = min(pause * 2, .seconds(5))
        }
    }

    /// Tells it the services that have changed.
    func tell(_ changes: ServiceChanges) {
        var known = services ?? [:]
        var gone = changes.isWhole ? Set(known.keys) : []
        for parts in changes.parts {
            gone.remove(parts.key)
            let now = parts.service.map { Self.message($0, parts.slices) }
            guard known[parts.key] != now else { continue }
            known[parts.key] = now
            news.insert(parts.key)
        }
        for key in gone { known[key] = nil }
        news.formUnion(gone)
        let isFirst = services == nil
        services = known
        if isFirst || !news.isEmpty { say() }
    }

    /// A service as it is told: of endpoints only those of a headless one have names.
    private static func message(_ service: KubernetesObject, _ slices: [KubernetesObject]) -> JSON {
        let isHeadless = service.spec["clusterIP"]?.string == "None"
        return [
            "service": service.json, "slices": .array(isHeadless ? slices.map(\.json) : []),
        ]
    }

    /// Tells it what the control plane says besides: further hosts, settings.
    func tell(further: JSON) {
        let (hosts, maps) = (told["hosts"], told["configMaps"])
        told["hosts"] = further["hosts"]
        told["configMaps"] = further["configMaps"]
        guard told["hosts"] != hosts || told["configMaps"] != maps else { return }
        isFurtherNew = true
        say()
    }

    private func say() {
        // Before the services are known every name of the cluster would be denied.
        guard services != nil else { return }
        isDirty = true
        flush()
    }

    /// What it has not been told yet: a line.
    private func message() -> [UInt8] {
        var message: JSON = isNew || isFurtherNew ? told : .object([:])
        let known = services ?? [:]
        message["isWhole"] = .bool(isNew)
        let names = isNew ? Set(known.keys) : news
        message["services"] = .object(
            Dictionary(uniqueKeysWithValues: names.map { ($0, known[$0] ?? .null) }))
        (isNew, isFurtherNew, news) = (false, false, [])
        return message.bytes + [0x0A]
    }

    private func flush() {
        guard isDirty, !isWriting, let stream else { return }
        isWriting = true
        isDirty = false
        let bytes = message()
        Task(executorPreference: loop) {
            do throws(SystemError) { try await stream.write(bytes) } catch {
                // It has ended; the next one is told everything.
            }
            self.isWriting = false
            self.flush()
        }
    }

    /// Ends it.
    func stop() {
        isStopping = true
        stream?.close()
        if let process { try? process.signal(Signals.terminate) }
        sockets.forEach { $0.close() }
    }
}

extension Command {
    static let nameServer = Command(
        "name-server", "", "Answer names for the pods of a node",
        details:
            "skein node starts this: descriptors from 3 on are bound sockets, two of an address; standard input tells the services.",
        isHidden: true
    ) { _ throws(CommandError) in
        try onLoop { loop throws(CommandError) in
            let fallback = UpstreamGroup(ResolverConfiguration.host())
            let server = DNSServer(on: loop, forwarder: Forwarder(ForwardingPlan(fallback), on: loop))
            let names = ToldNames(server, fallback, loop)
            do throws(SystemError) {
                let input = try SocketStream(Socket(adopting: 0), on: loop)
                var isServing = false
                var rest: [UInt8] = []
                while true {
                    let piece = try await input.read(upTo: 1 << 18)
                    // The agent has ended; its next life starts another.
                    guard !piece.isEmpty else { return 0 }
                    rest += piece
                    guard rest.count < nameBytesMax else { throw SystemError(90, "read what the agent says") }
                    guard let end = rest.lastIndex(of: 0x0A) else { continue }
                    for line in rest[..<end].split(separator: 0x0A) {
                        if let json = try? JSON.parse(Array(line)) { names.take(json) }
                    }
                    rest.removeSubrange(...end)
                    names.publish()
                    guard !isServing else { continue }
                    // Not before the first services are known: "no such name" would be remembered.
                    isServing = true
                    for index in names.addresses.indices {
                        try server.serve(datagrams: Socket(adopting: Int32(3 + 2 * index)))
                        try server.serve(streams: Socket(adopting: Int32(4 + 2 * index)))
                    }
                }
            } catch { throw CommandError(error) }
        }
    }

    /// Bytes of all services and slices together.
    private static let nameBytesMax = 256 << 20
}
