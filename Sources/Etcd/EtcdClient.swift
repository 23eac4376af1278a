internal import DNS
public import HTTP
public import IO
public import Serialization
internal import TLS
public import Telemetry

/// A client of etcd's v3 API over gRPC: one connection at a time, to the next member when one does not answer.
///
/// A call is made once: whether it may be repeated only its caller knows. `@unchecked Sendable`: belongs to one loop.
public final class EtcdClient: @unchecked Sendable {
    /// Longest answer taken: etcd's own limit for a request is 1.5 MiB, and a page of a list has many values.
    static let messageBytesMax = 64 * 1024 * 1024

    /// How the cluster is reached.
    public let configuration: EtcdConfiguration
    /// The loop that everything happens on.
    public let loop: EventLoop
    /// Connections begun because the one before had failed.
    public let failovers = Counter()
    /// Calls that ended without an answer.
    public let failures = Counter()
    private let resolver: DNSResolver
    private let log = Logger("etcd")
    private var next = 0
    private var connection: Connection?
    private var attempt: Task<Connection, any Error>?
    private var isClosed = false

    /// An open connection to one member.
    ///
    /// `@unchecked Sendable`: belongs to the client's loop.
    final class Connection: @unchecked Sendable {
        let client: GRPCClient
        let stream: SocketStream
        let endpoint: EtcdEndpoint
        var token: String?

        init(client: GRPCClient, stream: SocketStream, endpoint: EtcdEndpoint) {
            self.client = client
            self.stream = stream
            self.endpoint = endpoint
        }

        var isOpen: Bool { client.isOpen && !stream.hasClosed }
    }

    /// A client that connects when it is needed.
    public init(_ configuration: EtcdConfiguration, on loop: EventLoop) {
        self.configuration = configuration
        self.loop = loop
        resolver = DNSResolver(on: loop)
    }

    /// Ends the connection and all calls; no new ones are made.
    public func close() {
        isClosed = true
        connection?.stream.close()
        connection = nil
    }

    /// The member that is connected now.
    public var member: EtcdEndpoint? { connection.flatMap { $0.isOpen ? $0.endpoint : nil } }

    // MARK: Calls

    /// One question, one answer.
    public func call<Answer: Message>(
        _ method: EtcdMethod<Answer>, _ question: some Message, timeout: Duration? = nil
    ) async throws(GRPCStatus) -> Answer {
        var mayRenewToken = true
        while true {
            let connection = try await connected()
            do throws(GRPCStatus) {
                return try await ask(method, question, timeout ?? configuration.callTimeout, connection)
            } catch {
                // The token of a simple-token cluster lives five minutes, and not longer than the member's memory.
                if mayRenewToken, connection.token != nil, Self.isTokenProblem(error) {
                    mayRenewToken = false
                    connection.token = nil
                    drop(connection)
                    continue
                }
                failures.add()
                if error.code == .unavailable || error.code == .deadlineExceeded { giveUp(connection, error) }
                throw error
            }
        }
    }

    static func isTokenProblem(_ status: GRPCStatus) -> Bool {
        status.code == .unauthenticated || status.message.contains("invalid auth token")
            || status.message.contains("user name is empty")
    }

    private func ask<Answer: Message>(
        _ method: EtcdMethod<Answer>, _ question: some Message, _ timeout: Duration, _ connection: Connection
    ) async throws(GRPCStatus) -> Answer {
        let call = try open(method.path, connection)
        var isLate = false
        let timer = loop.schedule(after: timeout) {
            isLate = true
            call.cancel()
        }
        defer { timer.cancel() }
        do throws(GRPCStatus) {
            try await call.send(question.serialized())
            try call.finishSending()
            guard let bytes = try await call.next() else {
                throw GRPCStatus(.internal, "\(connection.endpoint): there was no answer to \(method.path)")
            }
            return try Self.decoded(bytes, method.path)
        } catch {
            guard isLate else { throw error }
            throw GRPCStatus(.deadlineExceeded, "\(connection.endpoint) did not answer \(method.path) in \(timeout)")
        }
    }

    static func decoded<Answer: Message>(_ bytes: [UInt8], _ path: String) throws(GRPCStatus) -> Answer {
        do throws(MessageError) { return try Answer(serialized: bytes) } catch {
            throw GRPCStatus(.internal, "the answer to \(path): \(error)")
        }
    }

    /// Begins a call with messages both ways.
    func open(_ path: String, _ connection: Connection) throws(GRPCStatus) -> GRPCStream {
        var metadata = HeaderTable()
        // A member that has lost its cluster says so instead of answering from its past or waiting.
        do throws(HTTPFieldError) {
            try metadata.append("hasleader", "true")
            if let token = connection.token { try metadata.append("token", token) }
        } catch {
            throw GRPCStatus(.internal, "the token: \(error)")
        }
        return try connection.client.call(path, metadata: metadata)
    }

    // MARK: Connecting

    /// The open connection, or a new one; those who ask meanwhile share it.
    func connected() async throws(GRPCStatus) -> Connection {
        guard !isClosed else { throw GRPCStatus(.cancelled, "the client is closed") }
        if let connection, connection.isOpen { return connection }
        if connection != nil { failovers.add() }
        connection = nil
        let task = attempt ?? Task(executorPreference: loop) { try await self.connectToAny() }
        attempt = task
        let result = await task.result
        if attempt == task { attempt = nil }
        switch result {
        case .success(let made): return made
        case .failure(let error): throw error as? GRPCStatus ?? GRPCStatus(.unavailable, "\(error)")
        }
    }

    /// Takes a connection for broken: the next call goes to the next member.
    func giveUp(_ connection: Connection, _ reason: GRPCStatus) {
        guard self.connection === connection else { return }
        log.warning("etcd does not answer", ["endpoint": "\(connection.endpoint)", "reason": "\(reason)"])
        next = (next + 1) % max(1, configuration.endpoints.count)
        failovers.add()
        drop(connection)
    }

    private func drop(_ connection: Connection) {
        connection.stream.close()
        if self.connection === connection { self.connection = nil }
    }

    private func connectToAny() async throws -> Connection {
        var reasons: [String] = []
        for offset in configuration.endpoints.indices {
            let index = (next + offset) % configuration.endpoints.count
            let endpoint = configuration.endpoints[index]
            do throws(GRPCStatus) {
                let made = try await connect(endpoint)
                guard !isClosed else {
                    made.stream.close()
                    throw GRPCStatus(.cancelled, "the client is closed")
                }
                next = index
                connection = made
                return made
            } catch {
                // A wrong password is wrong at every member.
                if [.invalidArgument, .permissionDenied, .unauthenticated].contains(error.code) { throw error }
                reasons.append("\(endpoint): \(error.message)")
            }
        }
        throw GRPCStatus(.unavailable, reasons.isEmpty ? "no etcd endpoint is named" : reasons.joined(separator: "; "))
    }

    private func connect(_ endpoint: EtcdEndpoint) async throws(GRPCStatus) -> Connection {
        let addresses: [IPAddress]
        if let address = IPAddress(endpoint.host) {
            addresses = [address]
        } else {
            do throws(LookupFailure) { addresses = try await resolver.resolve(endpoint.host).addresses } catch {
                throw GRPCStatus(.unavailable, "\(error)")
            }
        }
        var failure = GRPCStatus(.unavailable, "\(endpoint.host) has no address")
        for address in addresses {
            do throws(GRPCStatus) {
                return try await connect(endpoint, .ip(address, port: endpoint.port))
            } catch {
                failure = error
            }
        }
        throw failure
    }

    private func connect(_ endpoint: EtcdEndpoint, _ address: SocketAddress) async throws(GRPCStatus) -> Connection {
        let stream: SocketStream
        do throws(SystemError) {
            stream = try await SocketStream.connect(to: address, on: loop, timeout: configuration.connectTimeout)
        } catch {
            throw GRPCStatus(.unavailable, "\(error)")
        }
        let timer = loop.schedule(after: configuration.connectTimeout) { stream.close() }
        defer { timer.cancel() }
        do throws(GRPCStatus) {
            let client: GRPCClient
            do {
                let carrier: any DirectStream = endpoint.isSecure ? try await secured(stream, endpoint) : stream
                client = try GRPCClient(carrier, authority: "\(endpoint.host):\(endpoint.port)", on: loop)
            } catch {
                throw GRPCStatus(.unavailable, "\(error)")
            }
            let connection = Connection(client: client, stream: stream, endpoint: endpoint)
            if let user = configuration.user {
                var wish = EtcdAuthenticateRequest()
                wish.name = user
                wish.password = configuration.password
                connection.token = try await ask(.authenticate, wish, configuration.callTimeout, connection).token
            }
            return connection
        } catch {
            stream.close()
            throw error
        }
    }

    private func secured(_ stream: SocketStream, _ endpoint: EtcdEndpoint) async throws(TLSError) -> any DirectStream {
        var configuration = TLSConfiguration()
        configuration.trust = self.configuration.authority
        configuration.applicationProtocols = ["h2"]
        configuration.certificateChain = self.configuration.certificateChain
        configuration.privateKey = self.configuration.privateKey
        return try await TLSStream.connect(
            stream, try TLSContext(configuration, role: .client), serverName: endpoint.host)
    }
}

/// A method with one question and one answer.
public struct EtcdMethod<Answer: Message>: Sendable {
    /// `/etcdserverpb.KV/Range`.
    public let path: String
}

extension EtcdMethod<EtcdRangeResponse> {
    /// Reads keys; takes an `EtcdRangeRequest`.
    public static var range: Self { Self(path: "/etcdserverpb.KV/Range") }
}

extension EtcdMethod<EtcdTxnResponse> {
    /// Compares and writes in one step; takes an `EtcdTxnRequest`.
    public static var txn: Self { Self(path: "/etcdserverpb.KV/Txn") }
}

extension EtcdMethod<EtcdCompactionResponse> {
    /// Forgets old revisions; takes an `EtcdCompactionRequest`.
    public static var compact: Self { Self(path: "/etcdserverpb.KV/Compact") }
}

extension EtcdMethod<EtcdLeaseGrantResponse> {
    /// Begins a lease; takes an `EtcdLeaseGrantRequest`.
    public static var leaseGrant: Self { Self(path: "/etcdserverpb.Lease/LeaseGrant") }
}

extension EtcdMethod<EtcdLeaseRevokeResponse> {
    /// Ends a lease; takes an `EtcdLeaseRevokeRequest`.
    public static var leaseRevoke: Self { Self(path: "/etcdserverpb.Lease/LeaseRevoke") }
}

extension EtcdMethod<EtcdLeaseKeepAliveResponse> {
    /// Keeps a lease alive; takes an `EtcdLeaseKeepAliveRequest`.
    public static var leaseKeepAlive: Self { Self(path: "/etcdserverpb.Lease/LeaseKeepAlive") }
}

extension EtcdMethod<EtcdAuthenticateResponse> {
    /// Trades a password for a token; takes an `EtcdAuthenticateRequest`.
    public static var authenticate: Self { Self(path: "/etcdserverpb.Auth/Authenticate") }
}

extension EtcdMethod<EtcdStatusResponse> {
    /// What a member says of itself; takes an `EtcdStatusRequest`.
    public static var status: Self { Self(path: "/etcdserverpb.Maintenance/Status") }
}
