import Glibc
import IO
import Testing

/// A real etcd on loopback, with random ports and a directory of its own.
///
/// `@unchecked Sendable`: started and stopped by one test at a time.
final class EtcdServer: @unchecked Sendable {
    /// What a server is started with beside the usual.
    struct Wish: Sendable {
        /// Client TLS: files of certificate, key and, when clients must show a certificate, their authority.
        var tls: (certificate: String, key: String, authority: String?)?
        /// The network namespace it runs in, its address there, and the namespace from where it can be reached.
        var namespace: (far: NetworkNamespace, address: String, near: NetworkNamespace)?
    }

    let directory: String
    private(set) var port: UInt16
    private let peerPort: UInt16
    private let wish: Wish
    private var process: ProcessHandle?

    var url: String {
        "\(wish.tls == nil ? "http" : "https")://\(wish.namespace?.address ?? "127.0.0.1"):\(port)"
    }

    init(_ wish: Wish = Wish()) async throws {
        var template = Array("/tmp/skein-etcd-XXXXXX".utf8CString)
        directory = try #require(mkdtemp(&template).map { String(cString: $0) })
        self.wish = wish
        port = try Self.freePort()
        peerPort = try Self.freePort()
        try await start()
    }

    deinit {
        try? process?.signal(SIGKILL)
        try? File.removeTree(directory)
    }

    /// A port below those that the kernel gives to connections: of these another test may have got the same one by the
    /// time etcd listens, or listens again.
    private static func freePort() throws -> UInt16 {
        for _ in 0..<100 {
            let port = UInt16.random(in: 20_000..<32_000)
            guard let socket = try? Socket.listen(on: .ip(.v4(0x7f00_0001), port: port)) else { continue }
            socket.close()
            return port
        }
        throw Missing(what: "a port")
    }

    /// Processes die with the thread that started them: this one lives as long as the tests.
    private static let starter = Result { try EventLoop.start(name: "etcd-starter") }

    /// Starts it (again) and waits until it serves.
    func start() async throws {
        guard let program = ["/usr/bin/etcd", "/usr/local/bin/etcd"].first(where: File.isExecutable) else {
            throw Missing(what: "etcd: install the Debian package etcd-server (make deps)")
        }
        let address = wish.namespace?.address ?? "127.0.0.1"
        var arguments = [
            program, "--name", "test", "--data-dir", directory + "/data", "--log-level", "error", "--logger", "zap",
            "--log-outputs", directory + "/log", "--listen-client-urls", url, "--advertise-client-urls", url,
            "--listen-peer-urls", "http://\(address):\(peerPort)", "--initial-advertise-peer-urls",
            "http://\(address):\(peerPort)", "--initial-cluster", "test=http://\(address):\(peerPort)",
            // It is killed, the machine is not: a busy disk must not hold up every write.
            "--unsafe-no-fsync",
        ]
        if let tls = wish.tls {
            arguments += ["--cert-file", tls.certificate, "--key-file", tls.key]
            if let authority = tls.authority { arguments += ["--trusted-ca-file", authority, "--client-cert-auth"] }
        }
        var command = Child.Command(arguments)
        command.deathSignal = SIGKILL
        command.networkNamespace = wish.namespace?.far.fd
        let null = open("/dev/null", O_RDWR | O_CLOEXEC)
        defer { Descriptor.close(null) }
        command.descriptors = [0: null, 1: null, 2: null]
        let wanted = command
        let loop = try Self.starter.get()
        process = try await withCheckedContinuation {
            (continuation: CheckedContinuation<Result<ProcessHandle, any Error>, Never>) in
            loop.execute { continuation.resume(returning: Result { ProcessHandle(adopting: try Child(wanted)) }) }
        }.get()
        try await isServing()
    }

    /// Waits until the port answers.
    private func isServing() async throws {
        let address = try #require(SocketAddress("\(wish.namespace?.address ?? "127.0.0.1"):\(port)"))
        let (loop, near) = (try Self.starter.get(), wish.namespace?.near)
        for _ in 0..<1_200 {
            let isOpen = await Task(executorPreference: loop) {
                guard let stream = try? await SocketStream.connect(to: address, from: near, on: loop) else {
                    return false
                }
                stream.close()
                return true
            }.value
            if isOpen { return }
            guard process?.isRunning == true else {
                throw Missing(what: "a running etcd: \((try? File.text(directory + "/log")) ?? "no log")")
            }
            await loop.sleep(for: .milliseconds(50))
        }
        throw Missing(what: "an etcd that serves within a minute")
    }

    /// Puts a snapshot in the place of its data; it does not run.
    func restore(_ snapshot: String) throws {
        try File.removeTree(directory + "/data")
        var command = Child.Command([
            "/usr/bin/etcdctl", "snapshot", "restore", snapshot, "--data-dir", directory + "/data", "--name", "test",
            "--initial-cluster", "test=http://127.0.0.1:\(peerPort)", "--initial-advertise-peer-urls",
            "http://127.0.0.1:\(peerPort)",
        ])
        command.environment.append("ETCDCTL_API=3")
        let (status, output) = try Child.run(command)
        try #require(status.isSuccess, "\(String(decoding: output, as: UTF8.self))")
    }

    /// Kills it as a crash would.
    func kill() throws {
        let process = try #require(process)
        try process.signal(SIGKILL)
        // A process that was killed ends at once, or (in a wait that no signal ends) perhaps not at all: that is said, not waited for.
        var status: Int32 = 0
        for _ in 0..<3_000 {
            if waitpid(process.pid, &status, WNOHANG) != 0 {
                self.process = nil
                return
            }
            usleep(10_000)
        }
        throw Missing(what: "the end of etcd, 30 s after it was killed")
    }

    /// One server for all tests that do not harm it; each has a prefix of its own.
    static func shared() async throws -> EtcdServer { try await sharedTask.value }
    private static let sharedTask = Task { try await EtcdServer() }
}

/// Something a test needs is not there.
struct Missing: Error, CustomStringConvertible {
    var what: String
    var description: String { "missing: \(what)" }
}
