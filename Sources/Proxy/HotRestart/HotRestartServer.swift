internal import IO
internal import Telemetry

/// Waits for the process that will take over.
///
/// `@unchecked Sendable`: lives on the control loop alone.
final class HotRestartServer: @unchecked Sendable {
    private static let log = Logger("restart")

    private weak var proxy: ProxyServer?
    private let listener: SocketListener
    private let path: String

    init(_ proxy: ProxyServer, _ options: Options) throws(SystemError) {
        self.proxy = proxy
        let address = HotRestart.address(options, epoch: options.restartEpoch)
        path = if case .unix(let path) = address { path } else { "" }
        // Left by a process that was killed.
        try? File.remove(path)
        let socket = try Socket.listen(on: address)
        try File.chmod(path, 0o600)
        listener = try SocketListener(socket, on: proxy.loop)
        Task(executorPreference: proxy.loop) { [weak self] in
            while let self, let accepted = try? await self.listener.accept() {
                // The file's mode already says so; a directory that others can write is no place to trust.
                guard let peer = try? accepted.peerCredentials(), peer.uid == Environment.userID else { continue }
                await self.talk(accepted)
            }
        }
    }

    func close() {
        listener.close()
        try? File.remove(path)
    }

    private func talk(_ socket: Socket) async {
        guard let proxy, let stream = try? SocketStream(socket, on: proxy.loop) else { return }
        defer { stream.close() }
        var pending: [(message: [UInt8], socket: Socket)] = []
        while let bytes = try? await stream.read(upTo: HotRestart.messageBytes), !bytes.isEmpty {
            let fields = HotRestart.fields(bytes)
            switch fields.first {
            case "sockets":
                guard fields.count == 2, fields[1] == HotRestart.version else { return }
                Self.log.info("another process takes over")
                pending = await sockets(proxy)
            case "next": break
            case "drain":
                let seconds = fields.count == 2 ? Int64(fields[1]) ?? 0 : 0
                Self.log.info("replaced", ["ends_in_at_most": "\(seconds)s"])
                return proxy.replaced(shutdownTime: .seconds(seconds))
            default: return
            }
            if let next = pending.popLast() {
                _ = try? stream.socket.send(next.message, descriptor: next.socket.fd)
                next.socket.close()
            } else {
                HotRestart.send(HotRestart.line("end"), to: stream.socket)
            }
        }
        for entry in pending { entry.socket.close() }
    }

    private func sockets(_ proxy: ProxyServer) async -> [(message: [UInt8], socket: Socket)] {
        var result: [(message: [UInt8], socket: Socket)] = []
        for worker in proxy.workers {
            for (address, fd) in await worker.ask({ $0.duplicateSockets() }) ?? [] {
                result.append(
                    (HotRestart.line("listener", address, "\(worker.index)"), Socket(adopting: fd)))
            }
        }
        if let admin = proxy.duplicateAdminSocket() { result.append((HotRestart.line("admin"), admin)) }
        return result
    }
}
