internal import ControlPlane
internal import DNS
internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Serialization
internal import Telemetry

/// Names for the pods of a joined node: an unprivileged process with sockets that the agent has bound, which is told the
/// services over its standard input, and answers with what it has when the control plane is away.
///
/// `@unchecked Sendable`: belongs to the agent's loop.
final class NameServer: @unchecked Sendable {
    private let address: IPAddress
    /// What it is told, whole each time.
    private var told: JSON
    private let loop: EventLoop
    private let log = Logger("names")
    private var sockets: [Socket] = []
    private var process: ProcessHandle?
    private var stream: SocketStream?
    private var latest: [UInt8]?
    private var isDirty = false
    private var isWriting = false
    private var isStopping = false

    /// Answers on port 53 of that address, the ranges of `reverse` included.
    init(_ address: IPAddress, reverse: [Prefix], on loop: EventLoop) throws(SystemError) {
        self.address = address
        self.loop = loop
        told = [
            "reverse": .array(reverse.map { .string($0.description) }), "server": .string(address.description),
        ]
        let place = SocketAddress.ip(address, port: 53)
        sockets = [try Socket.datagram(on: place, reusePort: true), try Socket.listen(on: place, reusePort: true)]
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
                command.descriptors = [0: theirs.fd, 2: 2, 3: sockets[0].fd, 4: sockets[1].fd]
                let started = ProcessHandle(adopting: try Child(command))
                process = started
                stream = try SocketStream(ours, on: loop)
                isDirty = latest != nil
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

    /// Tells it the services; of several changes it is told the last.
    func tell(_ services: [KubernetesObject], _ slices: [KubernetesObject]) {
        told["services"] = .array(services.map(\.json))
        told["slices"] = .array(slices.map(\.json))
        say()
    }

    /// Tells it what the control plane says besides: further hosts, settings.
    func tell(further: JSON) {
        told["hosts"] = further["hosts"]
        told["configMaps"] = further["configMaps"]
        say()
    }

    private func say() {
        // Before the services are known every name of the cluster would be denied.
        guard told["services"] != nil else { return }
        let bytes = told.bytes + [0x0A]
        guard bytes != latest else { return }
        latest = bytes
        isDirty = true
        flush()
    }

    private func flush() {
        guard isDirty, !isWriting, let stream, let bytes = latest else { return }
        isWriting = true
        isDirty = false
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
        details: "skein node starts this: descriptors 3 and 4 are bound sockets, standard input tells the services.",
        isHidden: true
    ) { _ throws(CommandError) in
        try onLoop { loop throws(CommandError) in
            let fallback = UpstreamGroup(ResolverConfiguration.host())
            let server = DNSServer(on: loop, forwarder: Forwarder(ForwardingPlan(fallback), on: loop))
            var settings: JSON?
            var serial: UInt32 = 0
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
                    let line = rest[..<end].split(separator: 0x0A).last.map(Array.init) ?? []
                    rest.removeSubrange(...end)
                    guard let json = try? JSON.parse(line) else { continue }
                    func objects(_ name: String) -> [KubernetesObject] {
                        (json[name]?.array ?? []).map { KubernetesObject(json: $0) }
                    }
                    serial &+= 1
                    if json["configMaps"] != settings {
                        settings = json["configMaps"]
                        server.use(NameSettings(configMaps: strings(settings), fallback: fallback))
                    }
                    server.publish(
                        Zone(
                            services: NameFeed.services(objects("services"), slices: objects("slices")),
                            reversePrefixes: (json["reverse"]?.array ?? []).compactMap(\.string).compactMap {
                                Prefix($0)
                            },
                            hosts: hosts(json["hosts"]),
                            servers: [json["server"]?.string.flatMap { IPAddress($0) }].compactMap(\.self),
                            serial: serial))
                    guard !isServing else { continue }
                    // Not before the first services are known: "no such name" would be remembered.
                    isServing = true
                    try server.serve(datagrams: Socket(adopting: 3))
                    try server.serve(streams: Socket(adopting: 4))
                }
            } catch { throw CommandError(error) }
        }
    }

    private static func strings(_ json: JSON?) -> [String: [String: String]] {
        (json?.object ?? [:]).mapValues { ($0.object ?? [:]).compactMapValues(\.string) }
    }

    private static func hosts(_ json: JSON?) -> [String: [IPAddress]] {
        (json?.object ?? [:]).mapValues { ($0.array ?? []).compactMap(\.string).compactMap { IPAddress($0) } }
    }

    /// Bytes of all services and slices together.
    private static let nameBytesMax = 256 << 20
}
