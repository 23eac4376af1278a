internal import HTTP
internal import IO
internal import Telemetry
internal import Upstream

/// The connections to collectors of logs and spans, on the control loop.
///
/// `@unchecked Sendable`: `senders` and `addresses` are touched on the control loop alone; `flush` is the way in from other threads.
final class CollectorHub: @unchecked Sendable {
    private let loop: EventLoop
    private let row: Int
    /// The addresses of a cluster's hosts now.
    var addresses: (String) -> [SocketAddress] = { _ in [] }
    /// A cluster as it is now: its transport socket is spoken to collectors too.
    var cluster: (String) -> ClusterConfig? = { _ in nil }
    private var senders: [ObjectIdentifier: CollectorSender] = [:]
    /// Of those who send whole messages themselves, and not records of a queue.
    private var direct: [CollectorTarget: CollectorSender] = [:]

    init(loop: EventLoop, row: Int) {
        self.loop = loop
        self.row = row
    }

    /// Sends what waits in a queue, at once or within an interval.
    func flush(_ queue: ExportQueue, after interval: Duration) {
        loop.execute { [self] in
            let sender = sender(queue)
            if interval > .zero {
                loop.schedule(after: interval) { [row] in
                    queue.timerFlushed?.add(row: row)
                    sender.send()
                }
            } else {
                sender.send()
            }
        }
    }

    /// Sends one message on the control loop: of a call or a POST of its own, or on the stream that lasts.
    ///
    /// - Parameter introduction: Fields that the first message of each stream begins with.
    /// - Returns: What was answered (nothing on a stream), or nil when the message did not arrive.
    func send(_ message: [UInt8], introduction: [UInt8] = [], to target: CollectorTarget) async -> [UInt8]? {
        let known = direct[target]
        let sender =
            known
            ?? CollectorSender(
                target, interval: .zero, loop: loop, row: row,
                addresses: { [weak self] in self?.addresses(target.cluster) ?? [] },
                cluster: { [weak self] in self?.cluster(target.cluster) })
        direct[target] = sender
        return await sender.sendOnce(message, introduction)
    }

    private func sender(_ queue: ExportQueue) -> CollectorSender {
        let key = ObjectIdentifier(queue)
        if let known = senders[key], !known.isAbandoned { return known }
        let cluster = queue.target.cluster
        let sender = CollectorSender(
            queue.target, interval: queue.interval, queue: queue, loop: loop, row: row,
            addresses: { [weak self] in self?.addresses(cluster) ?? [] },
            cluster: { [weak self] in self?.cluster(cluster) })
        // A queue whose configuration is gone leaves with its last batch.
        senders = senders.filter { !$0.value.isAbandoned }
        senders[key] = sender
        return sender
    }

    /// Sends what is left; the process is about to end.
    func finish() async {
        for sender in senders.values { await sender.finish() }
        senders = [:]
        for sender in direct.values { sender.disconnect() }
        direct = [:]
    }
}

/// One queue's connection.
///
/// `@unchecked Sendable`: on the control loop alone.
private final class CollectorSender: @unchecked Sendable {
    private static let log = Logger("collector")
    private static let connectTimeout: Duration = .seconds(5)

    private let target: CollectorTarget
    private let interval: Duration
    private weak var queue: ExportQueue?
    /// Held while there is something to send.
    private var working: ExportQueue?
    private let loop: EventLoop
    private let row: Int
    private let addresses: () -> [SocketAddress]
    private let cluster: () -> ClusterConfig?
    private var client: GRPCClient?
    private var stream: GRPCStream?
    private var http: (address: SocketAddress, client: HTTPClient)?
    private var connection: (any DirectStream)?
    private var turn = 0
    private var isSending = false
    private var hasFailed = false

    init(
        _ target: CollectorTarget, interval: Duration, queue: ExportQueue? = nil, loop: EventLoop, row: Int,
        addresses: @escaping () -> [SocketAddress],
        cluster: @escaping () -> ClusterConfig?
    ) {
        self.cluster = cluster
        self.queue = queue
        self.target = target
        self.interval = interval
        self.loop = loop
        self.row = row
        self.addresses = addresses
    }

    var isAbandoned: Bool { queue == nil && !isSending }

    func send() {
        guard !isSending, let queue else { return }
        isSending = true
        working = queue
        Task(executorPreference: loop) { await self.drain(queue) }
    }

    /// Sends what is left, unless that is being done.
    func finish() async {
        guard !isSending, let queue else { return }
        isSending = true
        await drain(queue)
        client?.close()
    }

    private func drain(_ queue: ExportQueue) async {
        while true {
            let records = queue.take()
            if records.isEmpty { break }
            guard await send(records, queue) else {
                queue.dropped.add(UInt64(records.count), row: row)
                if !hasFailed {
                    Self.log.warning("a batch is lost: nobody takes it", ["cluster": target.cluster])
                }
                hasFailed = true
                disconnect()
                break
            }
            queue.written.add(UInt64(records.count), row: row)
            hasFailed = false
        }
        isSending = false
        working = nil
    }

    func disconnect() {
        stream?.cancel()
        stream = nil
        client?.close()
        client = nil
        http?.client.close()
        http = nil
        connection?.close()
        connection = nil
    }

    private func send(_ records: [[UInt8]], _ queue: ExportQueue) async -> Bool {
        // A collector that hangs must not hold the queue for ever.
        let timer = loop.schedule(after: target.timeout) { [weak self] in self?.disconnect() }
        defer { timer.cancel() }
        switch target.transport {
        case .grpcStream(let path): return await sendOnStream(path) { queue.encode(records, $0) }
        case .grpcUnary(let path): return await sendCall(queue.encode(records, true), path) != nil
        case .http(let path, let type): return await post(queue.encode(records, true), path, type) != nil
        case .bytes: return await write(queue.encode(records, true))
        }
    }

    /// One message that is no queue's; what was answered, or nil when it did not arrive.
    func sendOnce(_ message: [UInt8], _ introduction: [UInt8]) async -> [UInt8]? {
        let timer = loop.schedule(after: target.timeout) { [weak self] in self?.disconnect() }
        defer { timer.cancel() }
        switch target.transport {
        case .grpcStream(let path): return await sendOnStream(path) { $0 ? introduction + message : message } ? [] : nil
        case .grpcUnary(let path): return await sendCall(message, path)
        case .http(let path, let type): return await post(message, path, type)
        case .bytes: return await write(message) ? [] : nil
        }
    }

    private func write(_ bytes: [UInt8]) async -> Bool {
        do throws(SystemError) {
            let stream: any DirectStream
            if let known = connection {
                stream = known
            } else {
                guard let address = nextAddress() else { return false }
                stream = try await connect(to: address)
                connection = stream
            }
            try await stream.write(bytes)
            return true
        } catch {
            Self.log.debug("write: \(error)")
            disconnect()
            return false
        }
    }

    private func sendOnStream(_ path: String, _ encode: (_ isFirst: Bool) -> [UInt8]) async -> Bool {
        // A stream that has broken meanwhile is noticed by sending: once more on a new one.
        for _ in 0..<2 {
            do throws(GRPCStatus) {
                if stream == nil || stream?.isClosed == true {
                    guard let client = await connected() else { return false }
                    let fresh = try client.call(path, metadata: metadata)
                    stream = fresh
                    try await fresh.send(encode(true))
                } else {
                    try await stream?.send(encode(false))
                }
                if stream?.isClosed == false { return true }
            } catch {
                Self.log.debug("stream: \(error)")
            }
            disconnect()
        }
        return false
    }

    private func sendCall(_ message: [UInt8], _ path: String) async -> [UInt8]? {
        for _ in 0..<2 {
            guard let client = await connected() else { return nil }
            do throws(GRPCStatus) {
                let call = try client.call(path, metadata: metadata)
                try await call.send(message)
                try call.finishSending()
                var answer: [UInt8] = []
                while let next = try await call.next() { answer = next }
                return answer
            } catch {
                Self.log.debug("call: \(error)")
                disconnect()
                guard error.code == .unavailable else { return nil }
            }
        }
        return nil
    }

    private func post(_ body: [UInt8], _ path: String, _ type: String) async -> [UInt8]? {
        let client: HTTPClient
        if let known = http {
            client = known.client
        } else {
            guard let address = nextAddress() else { return nil }
            client = HTTPClient(authority: target.authority, on: loop) { () throws(HTTPError) in
                do throws(SystemError) {
                    return try await self.connect(to: address)
                } catch {
                    throw HTTPError.connection(error)
                }
            }
            http = (address, client)
        }
        var request = HTTPClientRequest(.post, path, body: body)
        try? request.headers.append(.contentType, type)
        for field in target.headers { try? request.headers.append(field.name, field.value) }
        do throws(HTTPError) {
            let response = try await client.send(request)
            let status = response.status
            let answer = try await response.collect(limit: Limits.collectorAnswerBytes)
            return status / 100 == 2 ? answer : nil
        } catch {
            Self.log.debug("post: \(error)")
            return nil
        }
    }

    private var metadata: HeaderTable {
        var table = HeaderTable()
        for field in target.headers { try? table.append(field.name, field.value) }
        return table
    }

    private func nextAddress() -> SocketAddress? {
        let addresses = addresses()
        guard !addresses.isEmpty else { return nil }
        turn &+= 1
        return addresses[turn % addresses.count]
    }

    private func connect(to address: SocketAddress) async throws(SystemError) -> any DirectStream {
        guard let cluster = cluster() else {
            return try await SocketStream.connect(to: address, on: loop, timeout: Self.connectTimeout)
        }
        return try await HostStream.connect(to: address, of: cluster, on: loop, timeout: Self.connectTimeout)
    }

    private func connected() async -> GRPCClient? {
        if let client, client.isOpen { return client }
        guard let address = nextAddress() else { return nil }
        do {
            let socket = try await connect(to: address)
            let fresh = try GRPCClient(socket, authority: target.authority, on: loop)
            client = fresh
            return fresh
        } catch {
            Self.log.debug("connect: \(error)")
            return nil
        }
    }
}
