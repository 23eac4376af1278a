internal import IO
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
            for entry in [directory, path] {
                try File.chown(entry, uid: ContainerManifest.proxyUser, gid: ContainerManifest.proxyUser)
            }
        } catch { throw WorkloadError("NodeNotReady", "cannot make the pod's xDS socket", error) }
        tellSocket(record)
    }

    func closeSocket(_ record: PodRecord) {
        guard record.socket != nil else { return }
        record.socket?.close()
        record.socket = nil
        tell(["op": "xds-gone", "uid": .string(record.pod.uid)], descriptor: nil)
    }

    private func tellSocket(_ record: PodRecord) {
        guard let socket = record.socket else { return }
        tell(
            [
                "op": "xds", "uid": .string(record.pod.uid), "namespace": .string(record.pod.namespace),
                "name": .string(record.pod.name),
            ], descriptor: socket.fd)
    }

    /// Sends one line to the control plane.
    ///
    /// Without a connection nothing is lost: everything is told on connecting.
    private func tell(_ message: JSON, descriptor: Int32?) {
        guard let channel else { return }
        let line = message.bytes + [0x0A]
        do throws(SystemError) {
            if let descriptor {
                _ = try channel.send(line, descriptor: descriptor)
            } else if case .failed(let error) = line.withUnsafeBytes({ channel.write($0) }) {
                throw error
            }
        } catch { log.warning("control plane not told", ["error": "\(error)"]) }
    }

    /// Keeps a connection to the control plane, and tells each new one all sockets there are.
    func keepChannel() async {
        while !isStopping {
            do throws(SystemError) {
                let stream = try await SocketStream.connect(to: .unix(configuration.agentSocket), on: loop)
                channel = stream.socket
                bindDNS()
                for entry in dnsSockets {
                    tell(
                        [
                            "op": "dns", "address": .string("\(entry.address)"),
                            "transport": .string(entry.transport),
                        ], descriptor: entry.socket.fd)
                }
                for record in records.values { tellSocket(record) }
                while try await !stream.read(upTo: 4096).isEmpty {}
                stream.close()
            } catch { log.debug("no control plane yet", ["error": "\(error)"]) }
            channel = nil
            await loop.sleep(for: .milliseconds(50))
        }
    }

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
