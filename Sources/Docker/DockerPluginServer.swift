internal import HTTP
package import IO
internal import Serialization
internal import Telemetry

/// The plugin's socket, where engines look for it: `POST /METHOD` with JSON, one call after the other.
package enum DockerPluginServer {
    /// Where engines look: the file's name is the driver's.
    package static let socketPath = "/run/docker/plugins/skein.sock"
    private static let contentType: StaticString = "application/vnd.docker.plugins.v1.2+json"

    /// Serves until its task is cancelled or the listener is closed.
    ///
    /// On the loop. The socket is root's alone: who may call may change the network.
    package static func listen(_ path: String, on loop: EventLoop) throws(SystemError) -> SocketListener {
        try File.makeDirectory(File.parent(of: path), mode: 0o755)
        let socket = try Socket.listen(on: .unix(path))
        try File.chmod(path, 0o600)
        return try SocketListener(socket, on: loop)
    }

    /// Answers engines until the listener is closed.
    package static func run(_ plugin: DockerPlugin, _ listener: SocketListener, on loop: EventLoop) async {
        var limits = HTTPServer.Limits()
        limits.bodyBytes = Limits.bodyBytes
        limits.places = ConnectionPlaces(max: Limits.connections)
        limits.tooLarge = { limit in
            answer(DockerPlugin.Answer(status: 413, body: refusal("the request has more than \(limit) bytes")))
        }
        let server = HTTPServer(on: loop, limits: limits) { request in
            guard request.method == "POST" else {
                return answer(
                    DockerPlugin.Answer(
                        status: 404, body: refusal("\(request.method) \(request.path): there is nothing")))
            }
            do throws(HTTPError) {
                let body = try await request.body.collect()
                return answer(plugin.call(String(request.path.dropFirst()), body))
            } catch {
                return answer(DockerPlugin.Answer(status: 400, body: refusal("the body cannot be read: \(error)")))
            }
        }
        await server.run(listener)
    }

    private static func refusal(_ text: String) -> [UInt8] { (["Err": .string(text)] as JSON).bytes }

    private static func answer(_ answer: DockerPlugin.Answer) -> HTTPResponse {
        HTTPResponse(status: answer.status, contentType: contentType, body: answer.body)
    }
}
