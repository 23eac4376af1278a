internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// The admin server, on the control loop.
///
/// `@unchecked Sendable`: touched on the control loop alone.
final class AdminServer: @unchecked Sendable {
    private static let log = Logger("admin")

    /// Weak: the process owns the admin server, not the reverse.
    private weak var proxy: ProxyServer?
    private let server: HTTPServer
    private let listener: SocketListener
    let address: SocketAddress

    init(_ proxy: ProxyServer, config: AdminConfig, inherited: Int32? = nil) throws(ConfigurationError) {
        self.proxy = proxy
        do throws(SystemError) {
            let socket =
                if let inherited { Socket(adopting: inherited) } else { try Socket.listen(on: config.address) }
            address = socket.localAddress ?? config.address
            listener = try SocketListener(socket, on: proxy.loop)
        } catch {
            throw ConfigurationError(at: "admin.address", "\(error)")
        }
        let routes = AdminRoutes(proxy, config)
        server = HTTPServer(on: proxy.loop) { request in
            let answer = await routes.answer(request)
            proxy.pageServed()
            return answer
        }
        let server = server
        let listener = listener
        Task(executorPreference: proxy.loop) { await server.run(listener) }
    }

    func close() { listener.close() }

    func duplicateSocket() -> Socket? { try? listener.socket.duplicate() }
}
