internal import CNI
package import IO
internal import Serialization
internal import Telemetry

/// The driver `skein` of a Docker engine: what its calls do to state, disk and kernel.
///
/// Every call is decided by the state alone, then done in the kernel, then written down, then answered: an engine that was told of
/// something finds it there whatever has ended in between, and what it was not told of is taken back at the next start.
/// `@unchecked Sendable`: touched by one loop only.
package final class DockerPlugin: @unchecked Sendable {
    private(set) var state: PluginState
    private let journal: StateJournal
    private let boot: String
    private let kernel: any KernelWork
    private let pools: PoolSource
    private let log: Logger

    /// Reads the state of a directory and brings the kernel in line with it.
    ///
    /// - Parameters:
    ///   - directory: where the journal is; another process that has it is an error (EWOULDBLOCK).
    ///   - pool: out of what networks without `--subnet` are cut, in pieces of 256 addresses, by the IPAM driver.
    ///   - owner: for whom it works: an engine, or the node itself.
    package convenience init(
        directory: String, pool: Prefix? = nil, owner: NetworkOwner = .engine
    ) throws(SystemError) {
        let v4 = pool ?? Prefix(.v4(0x0ad0_0000), length: 12)
        let v6 = Prefix(.v6(high: 0xfd73_6b65_696e_0000, low: 0), length: 48)
        guard let source = PoolSource(v4: v4, v4Length: 24, v6: v6, v6Length: 64) else {
            throw SystemError(22, "--pool: a network of IPv4 of at least 256 addresses is expected")
        }
        try self.init(
            directory: directory, boot: try StateJournal.currentBoot(), kernel: try Kernel(owner: owner), pools: source,
            log: Logger(owner == .node ? "networks" : "docker-plugin"))
    }

    init(
        directory: String, boot: String, kernel: any KernelWork, pools: PoolSource,
        log: Logger = Logger("docker-plugin")
    ) throws(SystemError) {
        self.log = log
        journal = try StateJournal(directory: directory)
        let found = try journal.open(boot: boot)
        state = found.state
        self.boot = boot
        self.kernel = kernel
        self.pools = pools
        for line in found.damaged { log.error("a line of the journal was damaged", ["line": "\(line)"]) }
        try reconcile()
    }

    // MARK: Start

    /// Takes away what no engine was told of, and makes what a start of the machine has taken away.
    private func reconcile() throws(SystemError) {
        // Before dockerd: one that has to switch it on itself forbids all forwarding beside its own.
        if let error = kernel.performAll([.forward(isV6: false)]) {
            log.warning("forwarding is not switched on", ["error": error.description])
        }
        let view = try kernel.view()
        var gone: [PluginState.Record] = []
        for endpoint in state.endpoints.values.sorted(by: { $0.id < $1.id }) {
            guard let network = state.networks[endpoint.network] else {
                gone.append(.noEndpoint(endpoint.id))
                continue
            }
            // A container that has ended while nobody was here took its end of the link along.
            guard endpoint.isJoined, network.wish.driver.hasBridge, view.links[endpoint.hostLink] == nil else {
                continue
            }
            if let error = kernel.performAll(state.takeDown(endpoint, network)) {
                log.error("a container that has gone is not taken off its network", ["error": error.description])
            }
            gone.append(.noEndpoint(endpoint.id))
        }
        try write(gone)
        // Addresses that nobody has: their containers have gone meanwhile.
        let held = Set(state.endpoints.values.flatMap { $0.addresses.map(\.address) })
        var freed: [PluginState.Record] = []
        for (id, pool) in state.pools {
            for place in pool.taken.subtracting(pool.reserved) where !held.contains(pool.address(place)) {
                // Before its network is there, a pool's addresses are the network's own.
                guard state.networks.values.contains(where: { $0.wish.subnets.contains { $0.prefix == pool.prefix } })
                else { continue }
                freed.append(.release(pool: id, pool.address(place)))
            }
        }
        try write(freed)
        bringUpAll()
        let lost = try kernel.collect(state)
        if !gone.isEmpty || !freed.isEmpty || !lost.links.isEmpty || lost.rules > 0 {
            log.info(
                "cleaned up after an earlier end",
                [
                    "containers": "\(gone.count)", "addresses": "\(freed.count)", "links": "\(lost.links.count)",
                    "rules": "\(lost.rules)",
                ])
        }
        log.debug(
            "ready",
            [
                "networks": "\(state.networks.count)", "containers": "\(state.endpoints.count)",
                "pools": "\(state.pools.count)",
            ])
    }

    private func bringUpAll() {
        for network in state.networks.values.sorted(by: { $0.id < $1.id }) {
            if let error = kernel.performAll(state.bringUp(network)) {
                log.error("a network is not there", ["network": network.id, "error": error.description])
            }
        }
    }

    // MARK: Calls

    /// What is answered to an engine.
    package struct Answer: Sendable, Hashable {
        /// The status of HTTP.
        package var status: UInt16
        /// An object; `{"Err": "…"}` when it was not done.
        package var body: [UInt8]
    }

    /// Does one call; never fails, since refusals are answers.
    ///
    /// - Parameter method: `NetworkDriver.Join`, the path without its slash.
    package func call(_ method: String, _ body: [UInt8]) -> Answer {
        do throws(Refusal) {
            let answer = try perform(method, body)
            log.debug("done", ["method": method])
            return Answer(status: 200, body: answer.bytes)
        } catch {
            log.warning("refused", ["method": String(method.prefix(80)), "reason": error.message])
            return Answer(status: error.status, body: (["Err": .string(error.message)] as JSON).bytes)
        }
    }

    private func perform(_ method: String, _ body: [UInt8]) throws(Refusal) -> JSON {
        var value: JSON = [:]
        if body.contains(where: { $0 > 0x20 }) {
            do throws(JSONError) { value = try JSON.parse(body) } catch {
                throw Refusal("the body is no JSON: \(error)")
            }
        }
        return try perform(method, value)
    }

    /// Does one call of whoever has the answer to a refusal.
    func perform(_ method: String, _ value: JSON) throws(Refusal) -> JSON {
        let request = try PluginRequest(method: method, value)
        let kernel = self.kernel
        let outside = Outside(
            view: { () throws(Refusal) in
                do throws(SystemError) { return try kernel.view() } catch {
                    throw Refusal(error.description, status: 500)
                }
            }, isFree: { kernel.isFree($0) }, pools: pools)
        // An engine that has just started may have made its chain meanwhile.
        if case .activate = request { bringUpAll() }
        let decision = try state.decide(request, outside)
        if let note = decision.note { log.info(note) }
        if decision.isRemoval {
            let error = kernel.performAll(decision.changes)
            try commit(decision.records)
            // What is still there is found by its alias or comment at the next start.
            if let error { log.error("not everything is gone", ["method": method, "error": error.description]) }
            return decision.answer
        }
        do throws(SystemError) { try kernel.perform(decision.changes) } catch {
            throw Refusal(
                error.errno == 17 ? "\(error): somebody else has it already" : error.description, status: 500)
        }
        do throws(Refusal) { try commit(decision.records) } catch {
            for change in decision.changes.reversed() {
                if let inverse = change.inverse { _ = kernel.performAll([inverse]) }
            }
            throw error
        }
        return decision.answer
    }

    /// Takes everything out of the kernel and keeps it written down: the next start makes the networks again.
    ///
    /// What could not be taken away comes back.
    func withdraw() -> [SystemError] {
        var problems: [SystemError] = []
        for network in state.networks.values.sorted(by: { $0.id < $1.id }) {
            let changes =
                state.endpoints(of: network.id).flatMap { state.takeDown($0, network) }
                + state.takeDown(network)
            if let problem = kernel.performAll(changes) { problems.append(problem) }
        }
        return problems
    }

    private func commit(_ records: [PluginState.Record]) throws(Refusal) {
        do throws(SystemError) { try write(records) } catch { throw Refusal(error.description, status: 500) }
    }

    private func write(_ records: [PluginState.Record]) throws(SystemError) {
        var next = state
        for record in records { next.apply(record) }
        try journal.append(records, state: next, boot: boot)
        state = next
    }
}
