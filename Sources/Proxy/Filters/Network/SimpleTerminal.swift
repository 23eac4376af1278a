internal import IO

/// The terminal filters that need no upstream, for one chain on one loop: echo and direct_response.
final class SimpleTerminal {
    let worker: Worker
    /// What is sent before the connection ends; nil sends back what comes.
    let response: [UInt8]?
    /// Bytes that wait for a client before it is read no further.
    let bufferBytes: Int
    private(set) var connections: [ObjectIdentifier: SimpleConnection] = [:]

    init(worker: Worker, response: [UInt8]?, bufferBytes: Int) {
        self.worker = worker
        self.response = response
        self.bufferBytes = bufferBytes
    }

    func accept(_ socket: Socket, input: ByteBuffer?, tls: TLSTransport?) {
        let connection = SimpleConnection(socket, input: input, tls: tls, terminal: self)
        connections[ObjectIdentifier(connection)] = connection
        connection.begin()
    }

    func ended(_ connection: SimpleConnection) { connections[ObjectIdentifier(connection)] = nil }

    func closeAll() {
        for connection in Array(connections.values) { connection.close() }
    }
}

/// One connection that is answered on the spot.
final class SimpleConnection: SocketConnection {
    private let terminal: SimpleTerminal
    private var timer: LoopTimer?
    /// Everything is said once the output is empty.
    private var isFinishing = false

    init(_ socket: Socket, input: ByteBuffer?, tls: TLSTransport?, terminal: SimpleTerminal) {
        self.terminal = terminal
        super.init(socket, worker: terminal.worker, input: input, tls: tls)
    }

    func begin() {
        do throws(SystemError) {
            try start()
        } catch {
            return close()
        }
        if let response = terminal.response {
            input.removeAll()
            isFinishing = true
            send(response)
            worker.markDirty(self)
        } else {
            echo()
        }
    }

    override func handleReady(_ readiness: Readiness) {
        if readiness.contains(.writable) && !output.isEmpty { flush() }
        if isFinishing { swallow() } else { echo() }
    }

    private func echo() {
        var reads = 0
        while !isClosed, !isFinishing, output.count < terminal.bufferBytes {
            if !input.isEmpty {
                send(input.bytes)
                input.removeAll()
            }
            reads += 1
            if reads > Limits.readsPerTurn {
                return worker.loop.atEndOfPass { [weak self] in
                    self?.echo()
                    self?.worker.endTurn()
                }
            }
            switch fill() {
            case .bytes: continue
            case .wouldBlock: return
            case .end:
                isFinishing = true
                worker.markDirty(self)
            case .failed: return close()
            }
        }
    }

    override func handleFlushed() {
        guard isFinishing else { return echo() }
        // The peer reads our last bytes before it learns of the close (RFC 9112 §9.6 says why).
        shutdownWrite()
        if timer == nil {
            timer = worker.schedule(after: Limits.lingerDuration) { [weak self] in self?.close() }
        }
        swallow()
    }

    private func swallow() {
        for _ in 0..<Limits.readsPerTurn {
            guard !isClosed else { return }
            switch fill() {
            case .bytes: input.removeAll()
            case .wouldBlock: return
            case .end, .failed:
                if output.isEmpty { close() }
                return
            }
        }
        worker.loop.atEndOfPass { [weak self] in self?.swallow() }
    }

    override func handleWriteFailure(_ error: SystemError) { close() }

    override func close() {
        timer?.cancel()
        super.close()
        terminal.ended(self)
    }
}
