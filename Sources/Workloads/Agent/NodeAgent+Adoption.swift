internal import IO
internal import KubernetesAPI
internal import Serialization
internal import Telemetry

extension NodeAgent {
    /// Writes down what a later life of the agent needs to go on with the pod.
    func writeJournal(_ record: PodRecord) {
        guard !record.isRemoved else { return }
        let directory = configuration.layout.pod(record.pod.uid)
        do throws(SystemError) {
            try File.makeDirectory(directory, mode: 0o711)
            try File.replace(
                configuration.layout.journal(record.pod.uid), PodJournal(record).json.bytes, mode: 0o600)
        } catch { log.error("journal not written", ["pod": record.pod.fullName, "error": "\(error)"]) }
    }

    /// Takes over the pods of a former life: what runs goes on running, what has ended meanwhile is told, and what is in
    /// no journal is removed.
    func adopt() async {
        let (runtime, layout, network) = (runtime, configuration.layout, network)
        let journals = (try? File.list(layout.pods)) ?? []
        var known: Set<String> = []
        for uid in journals {
            let journal = (try? File.read(layout.journal(uid))).flatMap { try? JSON.parse($0) }.flatMap(PodJournal.init)
            guard let journal, let pod = try? PodManifest(journal.object), pod.uid == uid else {
                log.warning("leftover of a pod removed", ["uid": uid])
                let problem = await pool.run {
                    PodRemoval.run(uid: uid, logs: nil, layout: layout, network: network)
                }
                if let problem { log.error("leftover not wholly removed", ["uid": uid, "error": problem]) }
                continue
            }
            known.formUnion(journal.instances.values.map(\.id))
            adopt(journal, pod)
        }
        let leftover = runtime.list().filter { !known.contains($0) }
        let problems = await pool.run { leftover.compactMap { runtime.remove(id: $0) } }
        for problem in problems { log.error("leftover container not removed", ["error": problem]) }
    }

    private func adopt(_ journal: PodJournal, _ pod: PodManifest) {
        var facts = PodFacts()
        facts.hostIPs = configuration.hostAddresses
        facts.apiAddress = configuration.apiAddress
        facts.nodeName = configuration.nodeName
        facts.podIPs = pod.usesHostNetwork ? configuration.hostAddresses : journal.place?.addresses ?? []
        facts.podIP = facts.podIPs.first ?? ""
        let record = PodRecord(
            object: journal.object, pod: pod, role: journal.role, facts: facts, startedAt: journal.startedAt)
        record.place = journal.place
        record.instances = journal.instances
        record.runs = journal.runs
        record.logs = journal.logs
        record.writtenStatus = journal.object.status
        records[pod.uid] = record
        guard journal.place != nil || pod.usesHostNetwork else {
            // It had no network yet; nothing of it can run.
            begin { await $0.prepare(record) }
            return
        }
        record.life.restore(journal.memory, at: .now)
        if record.role != .none {
            do throws(WorkloadError) { try openSocket(record) } catch {
                log.error("no xDS socket", ["pod": pod.fullName, "error": error.message])
            }
        }
        // A container that was being started when the agent died is in nobody's hands: it is removed with the leftovers.
        let states = journal.memory.containers
        for (name, instance) in record.instances {
            if case .running(let running)? = states[name]?.state, running.id == instance.id {
                log.info("container taken over", ["pod": pod.fullName, "container": name, "pid": "\(instance.pid)"])
                watch(instance, name, record)
            } else {
                record.instances[name] = nil
                let runtime = runtime
                begin { agent in
                    guard let problem = await agent.pool.run({ runtime.remove(id: instance.id) }) else { return }
                    agent.log.error("leftover container not removed", ["error": problem])
                }
            }
        }
        if record.life.isDeleting { record.drainDeadline = .now + .seconds(2) }
        apply(.tick, to: record)
    }

    /// Whether an agent with these directories has pods in its journal.
    public static func hasJournal(_ layout: NodeLayout) -> Bool { (try? File.list(layout.pods))?.isEmpty == false }

    /// Stops and removes everything that an agent with these directories ever made: containers, monitors, mounts, and
    /// by `network` namespaces and rules.
    ///
    /// Containers are asked to end first, all pods at once, for at most ten seconds (`Shutdown`).
    ///
    /// Blocking; harmless when there is nothing, and when done twice.
    ///
    /// What could not be removed comes back, in words.
    public static func tearDownAll(_ layout: NodeLayout, network: any PodNetworking) -> [String] {
        var problems: [String] = []
        let choice = RuntimeChoice.read(layout)
        // An engine has its containers also when the machine was started anew.
        if File.exists(layout.runtimeRoot) || choice != .runc {
            do throws(WorkloadError) {
                let runtime = try choice.make(layout)
                Shutdown(layout).run()
                problems += runtime.removeAll()
            } catch { problems.append(error.message) }
        }
        Monitors.end(exitDirectory: layout.exits)
        // A directory that was never made has nothing to remove; one that cannot be read shows below, when it is removed.
        for uid in (try? File.list(layout.pods)) ?? [] {
            if let problem = PodRemoval.run(uid: uid, logs: nil, layout: layout, network: network) {
                problems.append(problem)
            }
        }
        do throws(SystemError) {
            for directory in [layout.node, layout.secrets] { try PodRemoval.unmount(below: directory) }
            let parts = [layout.pods, layout.logs, layout.secrets, layout.runtimeRoot, layout.exits, layout.attach]
            for directory in parts + [layout.runDirectory + "/skeletons", layout.runDirectory + "/pods"] {
                try File.removeTree(directory)
            }
            try File.remove(layout.runDirectory + "/kubelet.sock")
            try RuntimeChoice.forget(layout)
        } catch { problems.append("\(error)") }
        do throws(WorkloadError) { try network.keep(only: []) } catch { problems.append(error.message) }
        MachineCgroups.removeEmpty(NodeLayout.cgroup)
        return problems
    }
}
