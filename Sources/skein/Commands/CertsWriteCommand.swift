internal import ControlPlane
internal import DNS
internal import HTTP
internal import IO
internal import Identity
internal import Serialization
internal import TLS

extension Command {
    private static let directory = Flag("dir", value: "DIR", "where the files are written")
    private static let account = Flag(
        "service-account", value: "NAME", "whose certificate it is (default \"default\")")
    private static let keep = Flag("keep", "go on: renew at half of the certificate's life, and follow the roots")
    private static let server = Flag(
        "server", value: "HOST:PORT|unix:PATH",
        "ask the control plane there, as any user: at its discovery address, or on the pod's own socket")
    private static let token = Flag(
        "token", value: "FILE", "with --server: a service-account token with audience skein, for the first time")
    private static let authority = Flag(
        "ca", value: "FILE", "with --server: what signs the control plane's certificate (control/ca.crt there)")

    static let certsWrite = Command(
        "certs write", "", "Write a certificate, its key and the roots as files, for gRPC and others without a proxy",
        details: """
            The key is made here (key.pem, mode 0600); cert-chain.pem and root-cert.pem are for everybody. All three change at once.
            As root on the machine of the control plane any service account may be named. Elsewhere --server asks for the
            account of the token; from then on the certificate itself is shown, and the token is not needed again.
            """,
        flags: [directory, .namespace, account, keep, server, token, authority, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        guard let target = invocation.value(directory) else {
            throw CommandError.usage("certs write", "--dir DIR is needed")
        }
        let files = CertificateFiles(directory: target)
        let source: CertificateSource
        if let text = invocation.value(server) {
            source = .server(try server(text, invocation), token: invocation.value(token))
        } else {
            guard invocation.value(token) == nil, invocation.value(authority) == nil else {
                throw CommandError.usage("certs write", "--token and --ca are for --server")
            }
            source = .machine(
                runDirectory: invocation.runDirectory, namespace: invocation.value(.namespace) ?? "default",
                account: invocation.value(account) ?? "default")
        }
        let keeper = CertificateKeeper(files: files, source: source)
        let keeps = invocation.has(keep)
        return try onLoop { loop throws(CommandError) in
            guard keeps else {
                try await keeper.renew(on: loop)
                return 0
            }
            await keeper.run(on: loop)
            return 0
        }
    }

    /// Letters, digits, hyphens and dots, as a name of a host has.
    private static func isHost(_ text: Substring) -> Bool {
        !text.isEmpty && text.utf8.count <= 253
            && text.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (0x61...0x7A).contains($0 | 0x20) || $0 == 0x2D || $0 == 0x2E
            }
    }

    private static func server(_ text: String, _ invocation: Invocation) throws(CommandError) -> CertificateServer {
        let place: CertificateServer.Place
        if let address = SocketAddress(text) {
            place = .address(address)
            if case .unix = address { return CertificateServer(place: place, authority: []) }
        } else {
            let parts = text.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count == 2, let port = UInt16(parts[1]), port > 0, isHost(parts[0]) else {
                throw CommandError.usage(
                    "certs write", "--server \(text): neither a host or address with a port, nor unix:PATH")
            }
            place = .name(String(parts[0]), port: port)
        }
        guard let file = invocation.value(authority) else {
            throw CommandError.usage("certs write", "--ca FILE is needed with --server HOST:PORT")
        }
        do {
            return CertificateServer(place: place, authority: try Certificate.all(pem: try File.read(file)))
        } catch { throw CommandError("\(file): \(error)") }
    }
}

/// Where a control plane is asked, and what vouches for it.
struct CertificateServer: Sendable {
    enum Place: Sendable {
        case address(SocketAddress)
        /// Looked up before each question: names move.
        case name(String, port: UInt16)
    }

    let place: Place
    let authority: [Certificate]

    /// Whether it is the pod's own socket, which says who asks.
    var isSocket: Bool {
        if case .address(.unix) = place { true } else { false }
    }

    /// A client of its present address.
    func client(on loop: EventLoop) async throws(CommandError) -> CertificateClient {
        switch place {
        case .address(let address): return CertificateClient(address, authority: authority)
        case .name(let name, let port):
            let found: IPAddress?
            do throws(LookupFailure) {
                found = try await DNSResolver(on: loop).resolve(name).addresses.first
            } catch {
                throw CommandError("skein certs write: \(name): \(error)")
            }
            guard let found else { throw CommandError("skein certs write: \(name) has no address") }
            return CertificateClient(.ip(found, port: port), authority: authority)
        }
    }
}

/// Whom to ask for a certificate.
enum CertificateSource: Sendable {
    /// The control plane of this machine, as root.
    case machine(runDirectory: String, namespace: String, account: String)
    /// A control plane at an address; the token is read from its file when it is needed.
    case server(CertificateServer, token: String?)
}

/// Keeps the files of one workload fresh.
struct CertificateKeeper: Sendable {
    let files: CertificateFiles
    let source: CertificateSource
    /// The time between two looks at the roots, far below the time that a new root is announced.
    private static let pause = Duration.seconds(10)

    /// Renews whenever it is time, for ever; what fails is tried again, later each time.
    func run(on loop: EventLoop) async {
        var due: Int64 = 0
        var failures = 0
        if let present = files.present, let leaf = present.chain.first, leaf.notAfter > WallClock.now.seconds {
            due = Self.renewal(leaf)
        }
        while true {
            do throws(CommandError) {
                if WallClock.now.seconds >= due {
                    due = try await renew(on: loop)
                    failures = 0
                } else {
                    try await followRoots(on: loop)
                }
            } catch {
                Console.error("\(error)\n")
                if WallClock.now.seconds >= due {
                    due = CertificateSchedule.retry(
                        attempt: failures, now: WallClock.now.seconds, jitter: Double.random(in: 0...1))
                    failures += 1
                }
            }
            // The clock of the wall may be set: nobody sleeps long on its word.
            let rest = Duration.seconds(max(1, due - WallClock.now.seconds))
            await loop.sleep(for: min(rest, Self.pause))
        }
    }

    private static func renewal(_ leaf: Certificate) -> Int64 {
        CertificateSchedule.renewal(
            notBefore: leaf.notBefore, notAfter: leaf.notAfter, jitter: Double.random(in: 0...1))
    }

    /// Makes a key, has it certified, and writes the files; returns when that is to be done again.
    @discardableResult
    func renew(on loop: EventLoop) async throws(CommandError) -> Int64 {
        do {
            let key = try PrivateKey.makeP256()
            let request = try CertificateRequest.make(subject: DistinguishedName(), key: key)
            let (chain, roots) = try await certified(request.pem, on: loop)
            guard let leaf = chain.first, leaf.matches(key) else {
                throw CommandError("skein certs write: the certificate is for another key")
            }
            try files.write(key: key.pem, chain: chain.flatMap(\.pem), roots: roots.flatMap(\.pem))
            return Self.renewal(leaf)
        } catch let error as CommandError {
            throw error
        } catch {
            throw CommandError("skein certs write: \(error)")
        }
    }

    private func certified(
        _ request: [UInt8], on loop: EventLoop
    ) async throws -> (chain: [Certificate], roots: [Certificate]) {
        switch source {
        case .machine(let runDirectory, let namespace, let account):
            let answer = try await AgentChannel.run(
                .issue(namespace: namespace, serviceAccount: account, request: request), runDirectory: runDirectory,
                on: loop)
            func certificates(_ name: String) throws(TLSError) -> [Certificate] {
                try Certificate.all(pem: Array((answer[name]?.string ?? "").utf8))
            }
            return (try certificates("chain"), try certificates("roots"))
        case .server(let server, let token):
            let client = try await server.client(on: loop)
            var problem: GRPCStatus?
            if let credential = shown {
                do throws(GRPCStatus) { return try await client.certify(request, showing: credential, on: loop) } catch
                {
                    problem = error
                }
            }
            // What the certificate no longer opens, a fresh token does.
            if let token {
                let text = try File.text(token).filter { !$0.isWhitespace }
                return try await client.certify(request, showing: .token(text), on: loop)
            }
            throw CommandError(
                "skein certs write: \(problem.map { "\($0)" } ?? "there is no certificate yet"); give a token with --token FILE"
            )
        }
    }

    /// What there is to show: the present certificate while it holds, or the pod's own socket.
    private var shown: CertificateClient.Credential? {
        if case .server(let server, _) = source, server.isSocket {
            return CertificateClient.Credential.none
        }
        guard let present = files.present, let leaf = present.chain.first, leaf.notAfter > WallClock.now.seconds else {
            return nil
        }
        return .certificate(chain: present.chain, key: present.key)
    }

    /// Writes the roots anew when others are trusted than before.
    private func followRoots(on loop: EventLoop) async throws(CommandError) {
        guard let present = files.present else { return }
        let roots: [UInt8]
        do {
            switch source {
            case .machine(let runDirectory, let namespace, let account):
                let facts = try await AgentChannel.run(
                    .roots(namespace: namespace, serviceAccount: account), runDirectory: runDirectory, on: loop)
                roots = Array((facts["rootsPEM"]?.string ?? "").utf8)
            case .server(let server, _):
                guard let shown else { return }
                roots = try await server.client(on: loop).roots(showing: shown, on: loop).flatMap(\.pem)
            }
            guard !roots.isEmpty, roots != present.roots else { return }
            try files.write(key: present.key.pem, chain: present.chain.flatMap(\.pem), roots: roots)
        } catch let error as CommandError {
            throw error
        } catch {
            throw CommandError("skein certs write: the roots cannot be read: \(error)")
        }
    }
}
