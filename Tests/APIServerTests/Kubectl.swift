import APIServer
import Glibc
import HTTP
import IO
import KubernetesAPI
import Serialization
import Store
import TLS
import Testing

/// A real server on a loopback port with TLS, and kubectl to talk to it.
final class KubectlFixture: Sendable {
    let directory: String
    let port: UInt16
    let loop: EventLoop
    let authority: CertificateAuthority

    struct Result {
        var status: Int32
        var out: String
        var error: String
    }

    init() throws {
        var template = Array("/tmp/skein-kubectl-XXXXXX".utf8CString)
        directory = try #require(mkdtemp(&template).map { String(cString: $0) })
        loop = try EventLoop.start(name: "api-test")
        let now = WallClock.now.seconds
        authority = try CertificateAuthority.make(
            subject: DistinguishedName(commonName: "test CA"), key: try PrivateKey.makeP256(), notBefore: now - 60,
            notAfter: now + 3600)
        let server = try KubectlFixture.leaf(authority, "kube-apiserver", [], .server)
        var configuration = TLSConfiguration()
        configuration.certificateChain = [server.certificate]
        configuration.privateKey = server.key
        configuration.trust = [authority.certificate]
        configuration.peerCertificate = .optional
        let context = try TLSContext(configuration, role: .server)
        let socket = try Socket.listen(on: .ip(try #require(IPAddress("127.0.0.1")), port: 0))
        guard case .ip(_, let port)? = socket.localAddress else { throw Missing(what: "a port") }
        self.port = port
        let path = directory + "/store.db"
        let agentPath = directory + "/kubelet.sock"
        let parcel = Parcel(socket)
        let loop = loop
        let started = Mailbox()
        loop.execute {
            do {
                let registry = ObjectRegistry(store: try SQLiteStore(path: path)) {
                    Timestamp(seconds: WallClock.now.seconds)
                }
                registry.defaultNodeName = "node"
                registry.admissionWarnings = { object, kind in
                    kind == .virtualService && object.name == "warned" ? ["spec.hosts[0]: no such service \"a\""] : []
                }
                try registry.bootstrap()
                let listeners = APIListeners(APIRouter(registry), on: loop)
                let listener = try SocketListener(parcel.socket, on: loop)
                let agent = try SocketListener(try Socket.listen(on: .unix(agentPath)), on: loop)
                let logs = NodeLogs(nodeClients(socket: agentPath, on: loop))
                listeners.logs = { wish throws(StatusError) in try await logs.fetch(wish) }
                let fake = HTTPServer(on: loop) { request in
                    guard request.path == "/containerLogs/default/p/c" else {
                        return HTTPResponse(status: 404, text: "no such container")
                    }
                    return .stream(contentType: "text/plain") { writer throws(HTTPError) in
                        try await writer.write("one \(request.query ?? "-")\n")
                        try await writer.write("two\n")
                    }
                }
                Task(executorPreference: loop) { await fake.run(agent) }
                Task(executorPreference: loop) { await listeners.serve(tls: listener) { context } }
                started.put(nil)
            } catch {
                started.put("\(error)")
            }
        }
        if let failure = started.take() { throw Missing(what: failure) }
        try write("admin", ["system:masters"])
    }

    deinit {
        loop.stop()
        try? File.removeTree(directory)
    }

    /// Writes a kubeconfig for a user of some groups.
    func write(_ name: String, _ groups: [String]) throws {
        let client = try KubectlFixture.leaf(authority, name, groups, .client)
        let text = Kubeconfig.yaml(
            server: "https://127.0.0.1:\(port)", ca: authority.certificate.pem, certificate: client.certificate.pem,
            key: client.key.pem)
        try File.write(directory + "/" + name, Array(text.utf8), mode: 0o600)
    }

    private static func leaf(
        _ authority: CertificateAuthority, _ name: String, _ groups: [String], _ usage: CertificateAuthority.Usage
    ) throws -> (certificate: Certificate, key: PrivateKey) {
        let now = WallClock.now.seconds
        let key = try PrivateKey.makeP256()
        let leaf = CertificateAuthority.Leaf(
            subject: DistinguishedName(commonName: name, organizations: groups),
            alternativeNames: usage == .server ? [.ip([127, 0, 0, 1])] : [], usage: usage, notBefore: now - 60,
            notAfter: now + 3600)
        return (try authority.sign(leaf, for: key.publicKey), key)
    }

    /// Runs kubectl; `input` is its standard input.
    ///
    /// No thread of the pool is held while it works: there are few, and other tests need them.
    @discardableResult
    func run(
        _ program: String, _ arguments: [String], input: String = "", user: String = "admin"
    ) async throws -> Result {
        let id = IO.Environment.randomBytes(6).map { String($0, radix: 16) }.joined()
        let files = ["in", "out", "err"].map { "\(directory)/\(id).\($0)" }
        try File.write(files[0], Array(input.utf8))
        try File.write(files[1], [])
        try File.write(files[2], [])
        let descriptors = [
            open(files[0], O_RDONLY | O_CLOEXEC), open(files[1], O_WRONLY | O_CLOEXEC),
            open(files[2], O_WRONLY | O_CLOEXEC),
        ]
        defer { for descriptor in descriptors { close(descriptor) } }
        var command = Child.Command(
            [program] + arguments,
            environment: [
                Child.Command.standardPath, "KUBECONFIG=\(directory)/\(user)", "HOME=\(directory)", "LC_ALL=C",
                "EDITOR=true",
            ])
        command.descriptors = [0: descriptors[0], 1: descriptors[1], 2: descriptors[2]]
        let child = try Child(command)
        var ended = try child.poll()
        while ended == nil {
            try await Task.sleep(for: .milliseconds(5))
            ended = try child.poll()
        }
        let status = try #require(ended)
        return Result(status: status.code, out: try File.text(files[1]), error: try File.text(files[2]))
    }

    struct Missing: Error { var what: String }

    /// Carries the socket to the loop that will own it.
    private struct Parcel: @unchecked Sendable {
        let socket: Socket
        init(_ socket: Socket) { self.socket = socket }
    }

    /// One answer from the loop.
    private final class Mailbox: @unchecked Sendable {
        private var mutex = pthread_mutex_t()
        private var condition = pthread_cond_t()
        private var isFull = false
        private var value: String?

        init() {
            pthread_mutex_init(&mutex, nil)
            pthread_cond_init(&condition, nil)
        }

        func put(_ value: String?) {
            pthread_mutex_lock(&mutex)
            self.value = value
            isFull = true
            pthread_cond_signal(&condition)
            pthread_mutex_unlock(&mutex)
        }

        func take() -> String? {
            pthread_mutex_lock(&mutex)
            defer { pthread_mutex_unlock(&mutex) }
            while !isFull { pthread_cond_wait(&condition, &mutex) }
            return value
        }
    }
}

/// Where kubectl is: from PATH, and version 1.20 when `SKEIN_KUBECTL_120` names it.
let kubectls: [String] = {
    let found = ["/usr/local/bin/kubectl", "/usr/bin/kubectl", "/bin/kubectl"].first { File.isExecutable($0) }
    return [found, IO.Environment.variable("SKEIN_KUBECTL_120")].compactMap { $0 }
}()
