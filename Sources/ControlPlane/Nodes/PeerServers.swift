import DNS
import Glibc
import HTTP
import IO
import Identity
import Serialization
import TLS
import Telemetry

/// The other control planes of one store, and the nodes that can be asked through them.
///
/// A node's agent is connected with one server; each tells the others which those are (`ReportTopic.nodes`), and asks for a connection with one
/// of theirs by `GET /skein/v1/node/relay`, over TLS, with a certificate of the authority that they have in common (`SharedIdentity`). What
/// goes through it is between the agent and whoever was asked: logs, commands, ports, usage.
///
/// `@unchecked Sendable`: belongs to one loop (docs/threads.md).
final class PeerServers: @unchecked Sendable {
    /// Where a server can be asked.
    struct Place: Sendable, Equatable {
        var hosts: [String]
        var port: UInt16
    }

    /// What a server has told.
    private struct Peer {
        var place: Place
        var nodes: Set<String>
    }

    /// How long another server may take to connect, and to reach the node.
    static let patience = Duration.seconds(15)
    /// Hosts of one server that are tried.
    static let hostsMax = 8
    /// Bytes of the names of nodes that a server tells; those beyond are asked at their own server only.
    static let nodeBytesMax = 200 * 1024
    /// The certificate with which other servers are asked, seconds; it is made anew when half of them are over.
    static let certificateLifetime: Int64 = 30 * 86_400

    private let authority: CertificateAuthority
    private let loop: EventLoop
    private let now: () -> Int64
    private let resolver: DNSResolver
    private let log = Logger("nodes")
    private var peers: [String: Peer] = [:]
    private var clients: [String: (server: String, client: HTTPClient)] = [:]
    private var context: (madeAt: Int64, context: TLSContext)?
    /// Connections that other servers made for this one.
    private(set) var asked: UInt64 = 0
    /// Connections that could not be had.
    private(set) var failed: UInt64 = 0
    /// Reports of other servers that could not be read.
    private(set) var unreadable: UInt64 = 0

    /// - Parameter now: seconds since 1970.
    init(_ authority: CertificateAuthority, on loop: EventLoop, now: @escaping () -> Int64) {
        self.authority = authority
        self.loop = loop
        self.now = now
        resolver = DNSResolver(on: loop)
    }

    // MARK: What is told

    /// Where a server of that address is reached: by the names it was given, and by its address unless that stands for all.
    static func place(of address: SocketAddress, names: [String]) -> Place {
        guard case .ip(let ip, let port) = address else { return Place(hosts: [], port: 0) }
        let own = ip.isUnspecified || names.contains("\(ip)") ? [] : ["\(ip)"]
        return Place(hosts: Array((names + own).prefix(hostsMax)), port: port)
    }

    /// What a server says of itself.
    static func report(_ place: Place, nodes: [String]) -> [UInt8] {
        var (bytes, told) = (0, [JSON]())
        for node in nodes {
            bytes += node.utf8.count + 3
            guard bytes <= nodeBytesMax else { break }
            told.append(.string(node))
        }
        let text: JSON = [
            "hosts": .array(place.hosts.map { .string($0) }), "port": .integer(Int64(place.port)),
            "nodes": .array(told),
        ]
        return text.bytes
    }

    private static func peer(_ bytes: [UInt8]) -> Peer? {
        guard let json = try? JSON.parse(bytes), let hosts = json["hosts"]?.array, let nodes = json["nodes"]?.array,
            let port = json["port"]?.int.flatMap({ UInt16(exactly: $0) })
        else { return nil }
        return Peer(
            place: Place(hosts: Array(hosts.compactMap(\.string).prefix(hostsMax)), port: port),
            nodes: Set(nodes.compactMap(\.string)))
    }

    /// What the other living servers say, by their names.
    func heard(_ reports: [String: [UInt8]]) {
        peers = [:]
        for (name, bytes) in reports where !bytes.isEmpty {
            if let peer = Self.peer(bytes) { peers[name] = peer } else { unreadable &+= 1 }
        }
        for (node, kept) in clients where peers[kept.server]?.nodes.contains(node) != true {
            clients.removeValue(forKey: node)?.client.close()
        }
    }

    /// The nodes that can be asked through other servers.
    var nodes: Set<String> { peers.values.reduce(into: []) { $0.formUnion($1.nodes) } }

    /// The figures of this, in Prometheus' text format.
    var metrics: String {
        """
        # HELP skein_control_peers Other control planes of the store.
        # TYPE skein_control_peers gauge
        skein_control_peers \(peers.count)
        # HELP skein_control_peer_connections_total Connections to nodes through other control planes.
        # TYPE skein_control_peer_connections_total counter
        skein_control_peer_connections_total \(asked)
        # HELP skein_control_peer_failures_total Connections to nodes that other control planes did not give.
        # TYPE skein_control_peer_failures_total counter
        skein_control_peer_failures_total \(failed)
        # HELP skein_control_peer_reports_unreadable_total Reports of other control planes that could not be read.
        # TYPE skein_control_peer_reports_unreadable_total counter
        skein_control_peer_reports_unreadable_total \(unreadable)

        """
    }

    // MARK: Asking

    /// A client of a node's agent, through the server that it is connected with; nil when it is with none that is known.
    func client(of node: String) -> HTTPClient? {
        let servers = peers.filter { $0.value.nodes.contains(node) }.keys.sorted()
        if let kept = clients[node], servers.contains(kept.server) { return kept.client }
        guard let server = servers.first else { return nil }
        let client = HTTPClient(authority: "localhost", on: loop) { [weak self] () throws(HTTPError) in
            guard let self else { throw .closed }
            return try await self.connection(to: node, of: server)
        }
        clients[node] = (server, client)
        return client
    }

    private func connection(to node: String, of server: String) async throws(HTTPError) -> any ByteStream {
        guard let place = peers[server]?.place else { throw .closed }
        var failure = HTTPError.connection(SystemError(ENOTCONN, "ask control plane \(server), which names no address"))
        for host in place.hosts {
            do throws(HTTPError) {
                let stream = try await relay(to: node, of: server, host, place.port)
                asked &+= 1
                return stream
            } catch { failure = error }
        }
        failed &+= 1
        log.warning(
            "a node cannot be asked through its control plane",
            ["node": node, "server": server, "hosts": place.hosts.joined(separator: ","), "reason": "\(failure)"])
        throw failure
    }

    private func relay(
        to node: String, of server: String, _ host: String, _ port: UInt16
    ) async throws(HTTPError) -> any ByteStream {
        let client = HTTPClient(authority: "kubernetes:\(port)", on: loop) { [weak self] () throws(HTTPError) in
            guard let self else { throw .closed }
            return try await self.connect(host, port)
        }
        client.headTimeout = Self.patience
        defer { client.close() }
        func encoded(_ text: String) -> String { PercentEncoding.encoded(text) }
        var request = HTTPClientRequest(
            .get, NodeJoin.path + "relay?server=\(encoded(server))&node=\(encoded(node))")
        do throws(HTTPFieldError) { try request.headers.append("upgrade", "skein-kubelet") } catch {
            throw .field(error)
        }
        let response = try await client.send(request)
        guard response.status == 101 else {
            let bytes = (try? await response.collect(limit: 4096)) ?? []
            let said = (try? JSON.parse(bytes))?["message"]?.string ?? String(decoding: bytes, as: UTF8.self)
            throw .connection(SystemError(EHOSTUNREACH, "ask control plane \(host): \(said)"))
        }
        let (rest, stream) = response.upgradedStream()
        guard rest.isEmpty else {
            stream.close()
            throw .connection(SystemError(EPROTO, "ask control plane \(host): the agent spoke first"))
        }
        return stream
    }

    private func connect(_ host: String, _ port: UInt16) async throws(HTTPError) -> any ByteStream {
        let context: TLSContext
        do throws(TLSError) { context = try currentContext() } catch { throw .tls(error) }
        let addresses: [IPAddress]
        do throws(LookupFailure) { addresses = try await resolver.resolve(host).addresses } catch {
            throw .connection(SystemError(EHOSTUNREACH, "resolve \(host): \(error)"))
        }
        var failure = HTTPError.connection(SystemError(EHOSTUNREACH, "resolve \(host): it has no address"))
        for address in addresses {
            let stream: SocketStream
            do throws(SystemError) {
                stream = try await SocketStream.connect(to: .ip(address, port: port), on: loop)
                // A terminal says nothing for hours: a server that is gone must be noticed all the same.
                try stream.socket.setKeepAlive(idleSeconds: 10, intervalSeconds: 5, probes: 3)
                stream.socket.setNoDelay()
            } catch {
                failure = .connection(error)
                continue
            }
            let timer = loop.schedule(after: Self.patience) { stream.close() }
            defer { timer.cancel() }
            do throws(TLSError) { return try await TLSStream.connect(stream, context, serverName: "kubernetes") } catch
            {
                stream.close()
                failure = .tls(error)
            }
        }
        throw failure
    }

    /// What we present and trust.
    private func currentContext() throws(TLSError) -> TLSContext {
        let time = now()
        if let context, time - context.madeAt < Self.certificateLifetime / 2 { return context.context }
        let key = try PrivateKey.makeP256()
        let certificate = try authority.sign(
            CertificateAuthority.Leaf(
                subject: DistinguishedName(
                    commonName: "skein:control-plane", organizations: [NodeJoin.serverGroup]),
                usage: .client, notBefore: time - 3600, notAfter: time + Self.certificateLifetime), for: key.publicKey)
        var configuration = TLSConfiguration()
        configuration.certificateChain = [certificate]
        configuration.privateKey = key
        configuration.trust = [authority.certificate]
        configuration.applicationProtocols = ["http/1.1"]
        let made = try TLSContext(configuration, role: .client)
        context = (time, made)
        return made
    }

    /// Ends what is kept idle.
    func close() {
        clients.values.forEach { $0.client.close() }
        clients = [:]
    }
}
