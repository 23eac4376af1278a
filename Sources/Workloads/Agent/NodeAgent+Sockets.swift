internal import Glibc
internal import IO
internal import Identity
internal import Serialization
internal import Telemetry

/// A DNS socket that is bound by the agent and served by the control plane.
struct DNSSocket {
    var address: SocketAddress
    var transport: String
    var socket: Socket
}

extension NodeAgent {
    /// Makes the pod's xDS socket: a stream on it is that pod (ARCHITECTURE decision 9).
    func openSocket(_ record: PodRecord) throws(WorkloadError) {
        let directory = configuration.layout.sockets(record.pod.uid)
        do throws(SystemError) {
            try File.makeDirectory(directory, mode: 0o700)
            let path = directory + "/xds.sock"
            try File.remove(path)
            record.socket = try Socket.listen(on: .unix(path))
            try File.chmod(path, 0o600)
            let state = configuration.layout.proxyState(record.pod.uid)
            try File.makeDirectory(state, mode: 0o700)
            for entry in [directory, path, state] {
                try File.chown(entry, uid: ContainerManifest.proxyUser, gid: ContainerManifest.proxyUser)
            }
        } catch { throw WorkloadError("NodeNotReady", "cannot make the pod's xDS socket", error) }
        try openIdentity(record)
        tellSocket(record)
    }

    func closeSocket(_ record: PodRecord) {
        guard record.socket != nil else { return }
        record.carrier?.cancel()
        record.carrier = nil
        record.socket?.close()
        record.socket = nil
        closeIdentity(record)
        guard configuration.controlPlane == nil else { return }
        tell(Self.farewell(record.pod.uid), descriptor: nil)
    }

    private static func announcement(_ record: PodRecord) -> JSON {
        [
            "op": "xds", "uid": .string(record.pod.uid), "namespace": .string(record.pod.namespace),
            "name": .string(record.pod.name),
        ]
    }

    private static func farewell(_ uid: String) -> JSON { ["op": "xds-gone", "uid": .string(uid)] }

    /// Tells a new connection what there is, at the pace at which it is read.
    private func tellFirst(_ message: JSON, _ socket: Socket, _ channel: Socket) async throws(SystemError) {
        while try !Self.send(message, descriptor: socket.fd, to: channel) {
            guard !isStopping else { throw SystemError(ECANCELED, "tell the control plane") }
            await loop.sleep(for: .milliseconds(5))
        }
    }

    private func tellSocket(_ record: PodRecord) {
        guard let socket = record.socket else { return }
        guard configuration.controlPlane == nil else { return carry(record) }
        tell(Self.announcement(record), descriptor: socket.fd)
    }

    /// Sends one line to the control plane.
    ///
    /// Without a connection nothing is lost: everything is told on connecting. So a line that does not go out whole ends
    /// the connection.
    func tell(_ message: JSON, descriptor: Int32?) {
        guard let channel else { return }
        do throws(SystemError) {
            guard try Self.send(message, descriptor: descriptor, to: channel) else {
                throw SystemError(EAGAIN, "tell the control plane")
            }
        } catch {
            log.warning("control plane not told; connecting anew", ["error": "\(error)"])
            endChannel?()
        }
    }

    /// Sends one line; false when there is no room for it now.
    private static func send(_ message: JSON, descriptor: Int32?, to channel: Socket) throws(SystemError) -> Bool {
        let line = message.bytes + [0x0A]
        var sent = 0
        if let descriptor {
            do throws(SystemError) { sent = try channel.send(line, descriptor: descriptor) } catch {
                guard error.errno != EAGAIN else { return false }
                throw error
            }
        } else {
            switch line.withUnsafeBytes({ channel.write($0) }) {
            case .bytes(let count): sent = count
            case .wouldBlock, .end: return false
            case .failed(let error): throw error
            }
        }
        // Half a line would garble what follows.
        guard sent == line.count else { throw SystemError(EMSGSIZE, "tell the control plane") }
        return true
    }

    /// Keeps a connection to the control plane, and tells each new one all sockets there are.
    func keepChannel() async {
        while !isStopping {
            do throws(SystemError) {
                let stream = try await openChannel()
                defer { stream.close() }
                if configuration.controlPlane != nil {
                    try await serve(stream)
                    throw SystemError(ECONNRESET, "the control plane has ended the connection")
                }
                bindDNS()
                for entry in dnsSockets {
                    try await tellFirst(
                        [
                            "op": "dns", "address": .string("\(entry.address)"),
                            "transport": .string(entry.transport),
                        ], entry.socket, stream.socket)
                }
                // Pods may come and go while we wait for room: those that are there at the end have all been told.
                var told: Set<String> = []
                while let record = records.values.first(where: { $0.socket != nil && !told.contains($0.pod.uid) }) {
                    told.insert(record.pod.uid)
                    guard let socket = record.socket else { continue }
                    try await tellFirst(Self.announcement(record), socket, stream.socket)
                }
                channel = stream.socket
                endChannel = { stream.close() }
                // Those that went while we told.
                for uid in told where records[uid]?.socket == nil { tell(Self.farewell(uid), descriptor: nil) }
                identitiesConnected()
                try await readReplies(stream)
            } catch { log.debug("no control plane yet", ["error": "\(error)"]) }
            channel = nil
            endChannel = nil
            await loop.sleep(for: .milliseconds(50))
        }
    }

    /// Reads what the control plane says until the connection ends.
    func readReplies(_ stream: SocketStream, patience: Duration? = nil) async throws(SystemError) {
        var rest: [UInt8] = []
        var timer: LoopTimer?
        defer { timer?.cancel() }
        while true {
            timer?.cancel()
            timer = patience.map { loop.schedule(after: $0) { stream.close() } }
            let piece = try await stream.read(upTo: 65_536)
            guard !piece.isEmpty else { return }
            rest += piece
            while let end = rest.firstIndex(of: 0x0A) {
                let line = Array(rest[..<end])
                rest.removeSubrange(...end)
                let json = try? JSON.parse(line)
                if json?["op"] == "pong" { continue }
                if let json, json["op"] == "dial" {
                    dial(json)
                    continue
                }
                if let json, json["op"] == "names" {
                    configuration.namesTold?(json)
                    continue
                }
                guard let json, let reply = IdentityReply(json: json) else {
                    log.warning("the control plane said something unknown")
                    continue
                }
                received(reply)
            }
            guard rest.count <= Self.replyBytesMax else {
                throw SystemError(EMSGSIZE, "read what the control plane says")
            }
        }
    }

    /// Bytes of one line of the control plane: a hundred roots, or the names of a hundred thousand hosts.
    private static let replyBytesMax = 16 << 20

    /// Binds the DNS sockets that are not bound yet.
    ///
    /// A living control plane may still have those of our former life, and shares the address with ours: when it ends, ours
    /// hold the questions until the next one is there.
    private func bindDNS() {
        for address in configuration.dnsAddresses {
            for transport in ["udp", "tcp"]
            where !dnsSockets.contains(where: { $0.address == address && $0.transport == transport }) {
                do throws(SystemError) {
                    let socket =
                        transport == "udp"
                        ? try Socket.datagram(on: address, reusePort: true)
                        : try Socket.listen(on: address, reusePort: true)
                    dnsSockets.append(DNSSocket(address: address, transport: transport, socket: socket))
                } catch { log.warning("DNS socket not bound", ["address": "\(address)", "error": "\(error)"]) }
            }
        }
    }
}
