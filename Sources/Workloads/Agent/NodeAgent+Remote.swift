internal import Glibc
internal import HTTP
internal import IO
internal import Identity
internal import KubernetesAPI
internal import Serialization
internal import Telemetry

// A control plane on another machine: what otherwise goes over unix sockets goes through the API's port, with the node's certificate.
extension NodeAgent {
    /// Streams of one pod's proxy at once.
    private static let streamsMax = 32
    /// A control plane that says nothing for so long is gone: it answers every heartbeat.
    private static let patience = Duration.seconds(30)

    /// The connection on which the mesh's authority is asked.
    func openChannel() async throws(SystemError) -> SocketStream {
        guard let remote = configuration.controlPlane else {
            return try await SocketStream.connect(to: .unix(configuration.agentSocket), on: loop)
        }
        do throws(APIError) {
            let (rest, stream) = try await remote.open(NodeJoin.path + "agent", "skein-agent")
            return try bridge(stream, rest)
        } catch { throw SystemError(ECONNREFUSED, "the control plane: \(error.message)") }
    }

    /// A socket whose other end is carried over the stream.
    private func bridge(_ stream: any ByteStream, _ rest: [UInt8]) throws(APIError) -> SocketStream {
        do throws(SystemError) {
            let (inner, outer) = try Socket.pair()
            let carrier = try SocketStream(outer, on: loop)
            let loop = loop
            Task(executorPreference: loop) { await StreamSplice.run(stream, carrier, rest: rest, on: loop) }
            return try SocketStream(inner, on: loop)
        } catch {
            stream.close()
            throw APIError(status: 0, message: error.description)
        }
    }

    /// Serves a connection until it ends; proxies' streams, which know nothing of a control plane that is gone, end with it.
    func serve(_ stream: SocketStream) async throws(SystemError) {
        channel = stream.socket
        endChannel = { stream.close() }
        log.info("connected with the control plane")
        identitiesConnected()
        let loop = loop
        let heart = Task(executorPreference: loop) { [weak self] in
            while !Task.isCancelled {
                await self?.tell(["op": "ping"], descriptor: nil)
                await loop.sleep(for: .seconds(NodeJoin.heartbeat))
            }
        }
        defer {
            heart.cancel()
            carried.values.forEach { $0.stream.close() }
            carried = [:]
        }
        try await readReplies(stream, patience: Self.patience)
    }

    /// Carries the streams of a pod's proxy to the control plane.
    func carry(_ record: PodRecord) {
        guard record.carrier == nil, let remote = configuration.controlPlane, let socket = record.socket else { return }
        let listener: SocketListener
        do throws(SystemError) { listener = try SocketListener(socket, on: loop) } catch {
            log.error("a proxy's socket cannot be served", ["pod": record.pod.fullName, "error": "\(error)"])
            return
        }
        let pod = record.pod
        let query =
            "uid=\(PercentEncoding.encoded(pod.uid))&namespace=\(PercentEncoding.encoded(pod.namespace))"
            + "&name=\(PercentEncoding.encoded(pod.name))"
        let (loop, log) = (loop, log)
        record.carrier = Task(executorPreference: loop) { [weak self] in
            while !Task.isCancelled {
                do throws(SystemError) {
                    let accepted = try await listener.accept()
                    let local = try SocketStream(accepted, on: loop)
                    Task(executorPreference: loop) { await self?.carry(local, of: pod.uid, remote, query) }
                } catch {
                    if Task.isCancelled || error.errno == ECANCELED { break }
                    log.warning("accepting a proxy failed", ["pod": pod.fullName, "error": error.description])
                    await loop.sleep(for: .milliseconds(100))
                }
            }
            listener.close()
        }
    }

    private func carry(_ local: SocketStream, of uid: String, _ remote: RemoteControlPlane, _ query: String) async {
        guard carried.values.count(where: { $0.uid == uid }) < Self.streamsMax else { return local.close() }
        carried[ObjectIdentifier(local)] = (uid, local)
        defer { carried[ObjectIdentifier(local)] = nil }
        do throws(APIError) {
            let (rest, stream) = try await remote.open(NodeJoin.path + "xds?" + query, "skein-xds")
            await StreamSplice.run(stream, local, rest: rest, on: loop)
        } catch {
            // The proxy tries again by itself, and serves what it has meanwhile.
            log.debug("a proxy has no control plane", ["error": error.description])
            local.close()
        }
    }

    /// The control plane wants to ask this agent something: it gets a connection over which it does.
    func dial(_ json: JSON) {
        guard let remote = configuration.controlPlane, let id = json["id"]?.string else {
            return log.warning("the control plane asked for a connection that it cannot have")
        }
        guard dialed < configuration.dialedMax else {
            dialsTurnedAway &+= 1
            let limit = "\(configuration.dialedMax)"
            return log.warning("the control plane holds too many connections", ["at_most": limit])
        }
        dialed += 1
        let (loop, log, kubelet) = (loop, log, configuration.kubeletSocket)
        begin { agent in
            defer { agent.dialed -= 1 }
            do {
                let path = NodeJoin.path + "kubelet?id=" + PercentEncoding.encoded(id)
                let (rest, stream) = try await remote.open(path, "skein-kubelet")
                do throws(SystemError) {
                    let local = try await SocketStream.connect(to: .unix(kubelet), on: loop)
                    await StreamSplice.run(stream, local, rest: rest, on: loop)
                } catch {
                    stream.close()
                    throw error
                }
            } catch { log.warning("the control plane did not get its connection", ["error": "\(error)"]) }
        }
    }

    /// A node that was not heard of had its pods taken out of their services: when it is heard of again, it says how they are.
    func takeBackReadiness(_ record: PodRecord) {
        let conditions = record.object.status["conditions"]?.array ?? []
        guard conditions.contains(where: { $0["type"] == "Ready" && $0["reason"] == "NodeNotReady" }) else { return }
        record.writtenStatus = record.object.status
        writeStatus(record)
    }

    // MARK: Other nodes

    /// Looks again and again: what somebody took away comes back, what could not be done is tried again.
    func keepWays() async {
        while !isStopping {
            await loop.sleep(for: .seconds(10))
            nodesChanged()
            updateHealthPorts()
        }
    }

    /// Brings the ways to other nodes up to date, once for many changes that come together.
    func nodesChanged() {
        guard !isLeadingToNodes else {
            mustLeadToNodes = true
            return
        }
        isLeadingToNodes = true
        begin { agent in
            repeat {
                agent.mustLeadToNodes = false
                let (network, nodes) = (agent.network, agent.mirror.all(.node))
                do throws(WorkloadError) {
                    let problems = try await agent.pool.run { () throws(WorkloadError) in
                        try network.reach(nodes: nodes)
                    }
                    for problem in problems where !agent.nodeProblems.contains(problem) {
                        agent.log.warning("a node is not reached", ["problem": problem])
                    }
                    if agent.nodeProblems != problems {
                        agent.nodeProblems = problems
                        agent.configuration.waysChanged?(problems)
                    }
                } catch { agent.log.error("other nodes are not reached", ["error": error.message]) }
            } while agent.mustLeadToNodes
            agent.isLeadingToNodes = false
        }
    }
}
