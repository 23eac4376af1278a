import APIServer
import HTTP
import IO
import Serialization
import Store
import Telemetry

// The agents of nodes, as the control plane asks them.
extension ControlPlaneServer {
    /// A page of usage may be so large: 5,000 pods.
    private static let usageBytesMax = 16 << 20
    /// How long an agent may take for it.
    static let usagePatience = Duration.seconds(10)

    /// The agent of this machine by its socket, those of joined machines by the connections that they open, those of other servers' machines through these.
    func agents() -> NodeClients {
        let path = options.runDirectory + "/kubelet.sock"
        let local = HTTPClient(to: .unix(path), on: loop)
        let name = options.nodeName
        return { [weak self] node throws(StatusError) in
            if node == name, self?.peers == nil || File.exists(path) { return local }
            guard let client = self?.nodes?.client(of: node) ?? self?.peers?.client(of: node) else {
                throw .agentUnreachable(
                    node, "it is not connected with \(self?.peers == nil ? "this" : "any") control plane")
            }
            return client
        }
    }

    /// Tells the other servers of a store which nodes are connected here, and hears of theirs.
    func shareNodes(_ store: EtcdStore) {
        guard let nodes else { return }
        let peers: PeerServers
        do throws(ControlPlaneError) {
            let identities = try Identities(directory: control, now: Self.now().seconds)
            peers = PeerServers(identities.authority, on: loop, now: { WallClock.now.seconds })
        } catch {
            return log.error("nodes of other servers cannot be asked", ["error": "\(error)"])
        }
        self.peers = peers
        nodes.serverName = store.writer
        let place = PeerServers.place(of: options.apiAddress, names: options.apiNames)
        if place.hosts.isEmpty {
            log.warning(
                "other servers of the store cannot ask for the nodes that are connected here: say with --api-name where this one is reached"
            )
        }
        store.report(.nodes) { [weak nodes] in
            PeerServers.report(place, nodes: nodes?.reachable ?? [])
        } changed: { [weak peers] in
            peers?.heard($0)
        }
    }

    /// Asks the agents what pods use, as long as something is scaled by it.
    func measurePods() {
        let (loop, agents) = (loop, agents())
        tasks.append(
            Task(executorPreference: loop) { [weak self] in
                while !Task.isCancelled {
                    await loop.sleep(for: AutoscalerController.interval)
                    let namespaces = self?.controllers?.measuredNamespaces ?? []
                    guard !namespaces.isEmpty else { continue }
                    let path = "/podUsage?namespaces=" + namespaces.joined(separator: ",")
                    for (_, page) in await self?.usage(path, from: agents) ?? [] {
                        self?.controllers?.usage.take(page)
                    }
                }
            })
    }

    /// Measures for `kubectl top`.
    func usageMeter(_ agents: @escaping NodeClients) -> UsageMeter {
        UsageMeter(on: loop, now: Self.now) { [weak self] in
            await self?.usage("/podUsage?namespaces=*&requests=false&node=true", from: agents) ?? []
        }
    }

    /// What all agents say at that path, all asked at once, by node; who does not answer is left out, and said so for debugging.
    ///
    /// The time in a page is this machine's: clocks differ, and pages of one book are compared. What the agent's clock said is beside it, as `nodeTime`.
    func usage(
        _ path: String, from agents: @escaping NodeClients, patience: Duration = ControlPlaneServer.usagePatience
    ) async -> [(node: String, page: JSON)] {
        let joined = Set(nodes?.connected ?? []).union(peers?.nodes ?? []).subtracting([options.nodeName])
        let names = [options.nodeName] + joined.sorted()
        let questions = names.map { name in
            Task(executorPreference: loop) { [log] () -> JSON? in
                do {
                    let response = try await agents(name).send(HTTPClientRequest(.get, path))
                    let bytes = try await response.collect(limit: Self.usageBytesMax)
                    guard response.status == 200 else { return nil }
                    var page = try JSON.parse(bytes)
                    let now = WallClock.now
                    page["nodeTime"] = page["time"]
                    page["time"] = .number(Double(now.seconds) + Double(now.nanoseconds) / 1e9)
                    return page
                } catch {
                    log.debug("a node's agent did not say what pods use", ["node": name, "error": "\(error)"])
                    return nil
                }
            }
        }
        let timer = loop.schedule(after: patience) { questions.forEach { $0.cancel() } }
        defer { timer.cancel() }
        var pages: [(String, JSON)] = []
        for (name, question) in zip(names, questions) {
            if let page = await question.value { pages.append((name, page)) }
        }
        return pages
    }
}
