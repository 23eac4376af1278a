internal import HTTP
public import IO
public import TLS
internal import Telemetry

extension APIListeners {
    /// How long a client may take for its handshake.
    static let handshakeTimeout = Duration.seconds(10)
    /// TLS connections at once; more are closed on arrival.
    static let connectionsMax = 2000

    /// Serves TLS: the user is who the client certificate says, nobody without one.
    ///
    /// `context` is asked for each connection, so that new certificates serve new connections. It should ask for client
    /// certificates without requiring them: health checks come without.
    public func serve(tls listener: SocketListener, context: @escaping @Sendable () -> TLSContext) async {
        await withDiscardingTaskGroup { group in
            while true {
                do throws(SystemError) {
                    let socket = try await listener.accept()
                    let stream = try SocketStream(socket, on: loop)
                    guard openConnections < Self.connectionsMax else {
                        log.warning("too many TLS connections", ["limit": "\(Self.connectionsMax)"])
                        stream.close()
                        continue
                    }
                    let peer = HTTPPeer(of: socket)
                    group.addTask { await self.serve(stream, peer, context()) }
                } catch {
                    if error.errno == Self.cancelled { return }
                    log.warning("accepting a connection failed", ["error": error.description])
                    // Out of descriptors, most likely: do not spin until some are closed.
                    await loop.sleep(for: .milliseconds(50))
                }
            }
        }
    }

    private static let cancelled: Int32 = 125  // ECANCELED

    private func serve(_ stream: SocketStream, _ peer: HTTPPeer, _ context: TLSContext) async {
        openConnections += 1
        defer { openConnections -= 1 }
        let timer = loop.schedule(after: Self.handshakeTimeout) { stream.close() }
        let secured: TLSStream
        let user: APIUser?
        do throws(TLSError) {
            secured = try await TLSStream.accept(stream, context)
            user = try secured.peerCertificate.map { certificate in
                APIUser(
                    name: certificate.subject.commonName,
                    groups: certificate.subject.organizations + ["system:authenticated"])
            }
        } catch {
            timer.cancel()
            log.debug("a TLS handshake failed", ["error": error.description])
            stream.close()
            return
        }
        timer.cancel()
        let server = HTTPServer(on: loop) { request in await self.handle(request, user: user, checksHost: true) }
        await server.serve(secured, peer: peer)
    }
}
