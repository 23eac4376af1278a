internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry

// Commands in containers, their own streams and their ports, for the API server: each over a WebSocket whose messages
// begin with the channel (`StreamChannel`).
extension NodeAgent {
    /// Sessions of all pods at once; more are refused.
    static let sessionsMax = 256

    /// Answers `exec`, `attach` and `portForward`.
    func streams(_ request: HTTPRequest, _ parts: [String]) async -> HTTPResponse {
        let wanted: WebSocketHandshake.Request?
        do throws(WebSocketError) { wanted = try WebSocketHandshake.request(request.head.headers) } catch {
            return HTTPResponse(status: 400, text: "\(error)")
        }
        guard let wanted else { return HTTPResponse(status: 400, text: "Upgrade request required") }
        guard sessions < Self.sessionsMax else {
            sessionsRefused += 1
            return HTTPResponse(status: 429, text: "too many sessions on this node: at most \(Self.sessionsMax)")
        }
        guard let record = youngest(parts[1], parts[2]) else {
            return HTTPResponse(status: 404, text: "pod \(parts[1])/\(parts[2]) is not on this node")
        }
        if parts[0] == "portForward" { return await forward(request, wanted, record) }
        guard let instance = record.instances[parts[3]], let manifest = record.container(parts[3]) else {
            return HTTPResponse(status: 400, text: "container not found (\"\(parts[3])\"): it does not run")
        }
        var options = Self.options(request)
        guard parts[0] == "exec" else { return await attach(wanted, instance, manifest, &options) }
        guard !options.command.isEmpty else { return HTTPResponse(status: 400, text: "no command was given") }
        let (runtime, loop, pool, ready) = (runtime, loop, pool, options)
        return upgrade(wanted) { socket in
            do throws(SystemError) {
                let process = try await pool.run { () throws(SystemError) in
                    ExecBox(try runtime.begin(instance.id, ready))
                }
                guard let taken = process.take() else { return }
                let session = try ExecSession(taken, ready, socket, on: loop)
                await session.run()
            } catch {
                try? await socket.send(StreamChannel.status, ExecOutcome.failed("\(error)").status.bytes)
                await socket.close()
            }
        }
    }

    private static func options(_ request: HTTPRequest) -> ContainerRuntime.ExecOptions {
        let items = request.queryItems
        func has(_ name: String) -> Bool { items.contains { $0.name == name && $0.value == "true" } }
        return ContainerRuntime.ExecOptions(
            command: items.filter { $0.name == "command" }.map(\.value), hasInput: has("stdin"),
            hasOutput: has("stdout"), hasErrors: has("stderr"), hasTerminal: has("tty"))
    }

    private func attach(
        _ wanted: WebSocketHandshake.Request, _ instance: ContainerRuntime.Instance, _ manifest: ContainerManifest,
        _ options: inout ContainerRuntime.ExecOptions
    ) async -> HTTPResponse {
        // What the container was not started with it cannot be given now.
        options.hasInput = options.hasInput && manifest.hasInput
        options.hasTerminal = manifest.hasTerminal
        let ready = options
        do throws(SystemError) {
            let (runtime, loop) = (runtime, loop)
            let process = try await pool.run { () throws(SystemError) -> ExecBox? in
                let process = try runtime.attach(instance.id, ready)
                guard let process else { return nil }
                return ExecBox(process)
            }
            if let process {
                return upgrade(wanted) { socket in
                    guard let taken = process.take(), let session = try? ExecSession(taken, ready, socket, on: loop)
                    else { return await socket.close() }
                    await session.run()
                }
            }
            let stream = try SocketStream(
                Socket.connectSequenced(to: "\(configuration.layout.attach)/\(instance.id)/attach"), on: loop)
            let control = instance.bundle + "/ctl"
            return upgrade(wanted) { socket in
                await AttachSession(stream, control: control, ready, socket, on: loop).run()
            }
        } catch {
            return HTTPResponse(status: 500, text: "cannot attach to the container: \(error)")
        }
    }

    private func forward(
        _ request: HTTPRequest, _ wanted: WebSocketHandshake.Request, _ record: PodRecord
    ) async -> HTTPResponse {
        guard let text = request.queryItems.first(where: { $0.name == "port" })?.value, let port = UInt16(text),
            port > 0
        else { return HTTPResponse(status: 400, text: "port is missing or no port number") }
        let namespace = record.place?.namespacePath
        var answer = (stream: nil as SocketStream?, problem: "pod \(record.pod.fullName) has no address")
        if request.queryItems.contains(where: { $0.name == "to" && $0.value == "pod" }) {
            // What listens on the pod's loopback alone, as the interface of its proxy, is not for others.
            let addresses = record.place?.addresses ?? [record.writtenStatus["podIP"]?.string].compactMap { $0 }
            if !addresses.isEmpty {
                answer = await PortSession.connect(port, of: addresses, namespace: namespace, on: loop)
            }
        } else {
            answer = await PortSession.connect(port, namespace: namespace, on: loop)
        }
        let (stream, problem) = answer
        guard let stream else { return HTTPResponse(status: 502, text: problem) }
        return upgrade(wanted) { socket in await PortSession(stream, socket).run() }
    }

    /// Answers with a WebSocket that lasts as long as `use`.
    private func upgrade(
        _ wanted: WebSocketHandshake.Request, _ use: @escaping @Sendable (WebSocketConnection) async -> Void
    ) -> HTTPResponse {
        sessions += 1
        let place = SessionPlace { [weak self] in
            self?.assumeIsolated { $0.sessions -= 1 }
        }
        return HTTPResponse(
            WebSocketHandshake.answer(wanted, using: nil),
            .upgrade { stream in
                await use(WebSocketConnection(stream, as: .server))
                stream.close()
                place.leave()
            })
    }

    /// Of several pods of that name the youngest is meant.
    private func youngest(_ namespace: String, _ name: String) -> PodRecord? {
        records.values.filter { $0.pod.namespace == namespace && $0.pod.name == name }
            .max { $0.startedAt < $1.startedAt }
    }
}

/// Carries a process from the pool's thread to the loop.
///
/// `@unchecked Sendable`: made on one and taken on the other, one after the other.
private final class ExecBox: @unchecked Sendable {
    private var process: ExecProcess?
    init(_ process: consuming ExecProcess) { self.process = consume process }
    func take() -> ExecProcess? { process.take() }
}

/// The place of one session among those allowed; it is given back once, also when the client went before it began.
///
/// `@unchecked Sendable`: touched on its loop only.
private final class SessionPlace: @unchecked Sendable {
    private var back: (@Sendable () -> Void)?
    init(_ back: @escaping @Sendable () -> Void) { self.back = back }
    func leave() {
        back?()
        back = nil
    }
    deinit { back?() }
}
