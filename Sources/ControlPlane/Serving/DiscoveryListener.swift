import HTTP
import IO
import Identity
import Mesh
import TLS
import Telemetry

/// Discovery over TCP for proxies that no agent of this machine looks after (:15012): mTLS, or a token on first contact.
///
/// `@unchecked Sendable`: belongs to one loop.
final class DiscoveryListener: @unchecked Sendable {
    /// Whose token it is, when it is good and meant for us.
    typealias TokenVerifier = @Sendable (String) throws(GRPCStatus) -> ServiceAccountToken

    private let streams: ProxyStreams
    private let listener: SocketListener
    private let server: GRPCServer
    private let log = Logger("xds")
    private var connections = 0
    /// Connections at once; more are closed on arrival.
    static let connectionsMax = 20_000

    init(
        _ listener: SocketListener, _ streams: ProxyStreams, trustDomain: @escaping @Sendable () -> String,
        verifier: TokenVerifier?
    ) {
        self.listener = listener
        self.streams = streams
        server = streams.server { call throws(GRPCStatus) in
            try Self.subscriber(call, trustDomain: trustDomain(), verifier)
        }
    }

    /// Whom a call comes from, by certificate or token; never by what it says of itself.
    static func subscriber(
        _ call: GRPCStream, trustDomain: String, _ verifier: TokenVerifier?
    ) throws(GRPCStatus) -> ProxyStreams.Subscriber {
        if let uris = call.peer.uris {
            guard let account = serviceAccount(uris, trustDomain: trustDomain) else {
                throw GRPCStatus(
                    .unauthenticated, "the certificate is none of a workload of spiffe://\(trustDomain)/")
            }
            return .serviceAccount(account)
        }
        if let header = call.metadata["authorization"], let verifier {
            guard header.lowercased().hasPrefix("bearer "), header.utf8.count < 16 * 1024 else {
                throw GRPCStatus(.unauthenticated, "authorization is no bearer token")
            }
            return .token(try verifier(String(header.dropFirst(7))))
        }
        throw GRPCStatus(
            .unauthenticated,
            "a client certificate of this mesh" + (verifier == nil ? "" : " or a service-account token") + " is needed")
    }

    /// The service account of `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/NAME`; nil unless there is exactly one URI and it is such a one.
    static func serviceAccount(_ uris: [String], trustDomain: String) -> NamespacedName? {
        guard uris.count == 1, let uri = uris.first else { return nil }
        let parts = uri.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 7, parts[0] == "spiffe:", parts[1].isEmpty, parts[2] == trustDomain, parts[3] == "ns",
            parts[5] == "sa", !parts[4].isEmpty, !parts[6].isEmpty
        else { return nil }
        return NamespacedName(namespace: parts[4], name: parts[6])
    }

    /// Accepts until the listener is closed; `context` is asked for each connection.
    func run(_ context: @escaping @Sendable () -> TLSContext) async {
        let loop = streams.loop
        while !Task.isCancelled {
            do throws(SystemError) {
                let socket = try await listener.accept()
                guard connections < Self.connectionsMax else {
                    socket.close()
                    continue
                }
                let peer = HTTPPeer(of: socket)
                let stream = try SocketStream(socket, on: loop)
                connections += 1
                Task(executorPreference: loop) { await self.secure(stream, peer, context()) }
            } catch {
                if Task.isCancelled || error.errno == 125 { return }  // ECANCELED: the listener is closed
                log.warning("accepting a proxy failed", ["error": error.description])
                await loop.sleep(for: .milliseconds(100))
            }
        }
    }

    /// Serves a connection once its handshake is done; returns then.
    private func secure(_ stream: SocketStream, _ peer: HTTPPeer, _ context: TLSContext) async {
        let timer = streams.loop.schedule(after: streams.limits.firstRequestTime) { stream.close() }
        var peer = peer
        let secured: TLSStream
        do throws(TLSError) {
            secured = try await TLSStream.accept(stream, context)
            peer.uris = secured.takePeer()?.uris
            timer.cancel()
        } catch {
            timer.cancel()
            stream.close()
            connections -= 1
            log.info(
                "a proxy's TLS connection failed",
                ["peer": "\(peer.address, default: "-")", "error": error.description])
            return
        }
        server.take(secured, peer: peer) { self.connections -= 1 }
    }

    func close() { listener.close() }
}
