import APIServer
import HTTP
import IO
import Identity

// What other servers of the store ask of nodes that are connected here.
extension NodeService {
    /// A connection of another server of the store to the agent of a node that is connected here; it is never handed on further.
    func serveRelay(_ request: HTTPRequest, _ user: APIUser?) async throws(StatusError) -> HTTPResponse {
        guard let user, user.groups.contains(NodeJoin.serverGroup) else {
            throw StatusError(
                code: user == nil ? 401 : 403, reason: user == nil ? "Unauthorized" : "Forbidden",
                message: "the certificate of a control plane is needed")
        }
        func item(_ name: String) -> String { request.queryItems.first { $0.name == name }?.value ?? "" }
        guard let serverName, item("server") == serverName else {
            throw StatusError(
                code: 404, reason: "NotFound",
                message: "this is control plane \(serverName ?? "(alone)"), not \(item("server")): see --api and "
                    + "--api-name")
        }
        let node = item("node")
        guard relays < Self.relaysMax else {
            throw StatusError(
                code: 429, reason: "TooManyRequests",
                message: "too many connections of other servers: at most \(Self.relaysMax) at once")
        }
        let isLocal = node == localSocket?.node && agents[node] == nil
        guard isLocal || agents[node] != nil else {
            throw StatusError(code: 404, reason: "NotFound", message: "node \(node) is not connected here")
        }
        relays += 1
        let place = RelayPlace { [weak self] in self?.relays -= 1 }
        let target: any ByteStream
        if isLocal, let localSocket {
            do throws(SystemError) {
                target = try await SocketStream.connect(to: .unix(localSocket.path), on: loop)
            } catch { throw .agentUnreachable(node, "\(error)") }
        } else {
            do throws(HTTPError) { target = try await dialer.dial(node) } catch {
                throw .agentUnreachable(node, "\(error)")
            }
        }
        relayed &+= 1
        return upgrade("skein-kubelet") { [self] stream in
            open[node, default: [:]][ObjectIdentifier(stream)] = stream
            await StreamSplice.run(stream, target, on: loop)
            open[node]?[ObjectIdentifier(stream)] = nil
            place.leave()
        }
    }
}

/// The place of one relayed connection among those allowed; it is given back once, also when the other server went before it began.
///
/// `@unchecked Sendable`: touched on its loop only.
private final class RelayPlace: @unchecked Sendable {
    private var back: (() -> Void)?
    init(_ back: @escaping () -> Void) { self.back = back }
    func leave() {
        back?()
        back = nil
    }
    deinit { back?() }
}
