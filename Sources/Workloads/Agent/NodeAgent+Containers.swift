internal import Docker
internal import Glibc
internal import IO
internal import Serialization
internal import Telemetry

extension NodeAgent {
    /// Starts a container and tells the pod's life what came of it.
    func startContainer(_ name: String, _ record: PodRecord) async {
        do throws(WorkloadError) {
            let instance = try await launchInSandbox(name, record)
            record.instances[name] = instance
            log.info("container started", ["pod": record.pod.fullName, "container": name, "pid": "\(instance.pid)"])
            watch(instance, name, record)
            apply(.started(container: name, id: instance.id), to: record)
        } catch {
            log.warning("container not started", ["pod": record.pod.fullName, "container": name, "error": "\(error)"])
            apply(.startFailed(container: name, error), to: record)
        }
        writeJournal(record)
    }

    /// Starts a container; in another sandbox when the pod's has ended, as a restart of an engine may have done.
    private func launchInSandbox(
        _ name: String, _ record: PodRecord
    ) async throws(WorkloadError) -> ContainerRuntime.Instance {
        let before = record.sandboxes
        do throws(WorkloadError) { return try await launch(name, record) } catch {
            guard error.reason == EngineRuntime.sandboxGoneReason, !record.pod.usesHostNetwork else { throw error }
            // Another container of the pod may have found it gone at the same time.
            while record.isPreparing { await loop.sleep(for: .milliseconds(10)) }
            guard !record.isRemoved, !isStopping else { throw error }
            if record.sandboxes == before { try await renewSandbox(record) }
            return try await launch(name, record)
        }
    }

    private func renewSandbox(_ record: PodRecord) async throws(WorkloadError) {
        record.isPreparing = true
        defer { record.isPreparing = false }
        note(
            record, reason: EngineRuntime.sandboxGoneReason, message: "Pod sandbox changed, it will be re-created.",
            isWarning: false)
        // What still runs is in the old one, where nobody reaches it.
        for instance in record.instances.values { runtime.signal(instance, SIGKILL) }
        let (network, pod, captures) = (network, record.pod, record.role == .sidecar)
        let policies = policyObjects()
        let place = try await pool.run { () throws(WorkloadError) in
            try network.detach(uid: pod.uid)
            if let policies { network.learn(policies) }
            return try network.attach(pod, captures: captures)
        }
        record.sandboxes += 1
        record.place = place
        record.facts.podIP = place.addresses.first ?? ""
        record.facts.podIPs = place.addresses
        writeJournal(record)
        refreshNames()
    }

    private func launch(_ name: String, _ record: PodRecord) async throws(WorkloadError) -> ContainerRuntime.Instance {
        guard let container = record.container(name) else {
            throw WorkloadError("InternalError", "no container \(name)")
        }
        await awaitReferences(record)
        let pod = record.pod
        let isProxy = container.image == SidecarPlan.image
        let image = try await image(of: container, isProxy: isProxy)
        let environment = try ContainerEnvironment.resolve(
            container, of: pod, facts: record.facts, image: image.config.environment, references: mirror)
        let volumes = try volumes(of: record)
        let run = (record.runs[name] ?? -1) + 1
        record.runs[name] = run
        var plan = ContainerPlan(
            id: NodeLayout.containerID(pod.uid, name, run: run), pod: pod, container: container, image: image,
            environment: environment, volumes: volumes.paths, networkNamespace: record.place?.namespacePath,
            addresses: record.facts.podIPs, nameserver: configuration.nameserver, layout: configuration.layout,
            cgroups: cgroups, host: host)
        if let target = container.target {
            guard let instance = record.instances[target] else {
                throw WorkloadError(
                    "CreateContainerError", "container \(target), whose processes it is to see, does not run")
            }
            plan.target = instance
        }
        plan.neighbours = configuration.networks?.neighbours(of: pod.uid) ?? []
        plan.container.arguments = expanded(container.arguments, environment)
        plan.container.command = expanded(container.command, environment)
        if isProxy, let program = configuration.proxyProgram {
            plan.proxy = .init(
                program: program, isStatic: proxyIsStatic,
                bootstrap: SidecarPlan.bootstrap(for: pod, facts: record.facts, isGateway: record.role == .gateway))
            if name == SidecarPlan.containerName { plan.container.arguments = configuration.proxyArguments }
        }
        guard !isStopping else {
            throw WorkloadError("NodeStopping", "the agent ends; the next one starts the container")
        }
        let (runtime, ready) = (runtime, plan)
        let (instance, notApplied) = try await pool.run { () throws(WorkloadError) in
            try volumes.write()
            return try runtime.run(ready, number: run)
        }
        if !notApplied.isEmpty {
            note(
                record, reason: "LimitNotApplied",
                message: "\(name): this machine's cgroups cannot keep \(notApplied.joined(separator: ", "))",
                isWarning: true)
        }
        record.logs[name] = (record.logs[name] ?? []).suffix(1) + [run]
        return instance
    }

    private func expanded(_ words: [String], _ environment: [String]) -> [String] {
        guard words.contains(where: { $0.contains("$") }) else { return words }
        var values: [String: String] = [:]
        for entry in environment {
            let parts = entry.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            if parts.count == 2 { values[parts[0]] = parts[1] }
        }
        return words.map { ContainerEnvironment.expand($0, values) }
    }

    private func image(of container: ContainerManifest, isProxy: Bool) async throws(WorkloadError) -> ContainerImage {
        if isProxy {
            guard configuration.proxyProgram != nil else {
                throw WorkloadError("ErrImageNeverPull", "this agent was started without a proxy program")
            }
            return ContainerImage(root: proxyIsStatic ? .proxy : .host, config: .init())
        }
        let (images, name, runtime) = (images, container.image, runtime)
        let fromEngine = try await pool.run { () throws(WorkloadError) in try runtime.image(of: container) }
        if let fromEngine { return fromEngine }
        if let image = try await pool.run({ () throws(WorkloadError) in try images.image(named: name) }) {
            return image
        }
        guard configuration.imageMode == .host else {
            throw WorkloadError(
                "ErrImageNeverPull",
                "image \(name) is not in the store and nothing is ever pulled; "
                    + "provide it with: skein image import \(name) FILE")
        }
        return ContainerImage(root: .host, config: .init())
    }

    /// What is to be written for a pod's volumes, and where each is.
    private func volumes(of record: PodRecord) throws(WorkloadError) -> VolumePlan {
        var plan = VolumePlan(
            paths: [:], contents: [], layout: configuration.layout, pod: record.pod, edition: record.volumes.next())
        for (name, volume) in record.pod.volumes {
            if let files = try VolumeContent.files(volume, of: record.pod, facts: record.facts, references: mirror) {
                let base =
                    VolumeContent.isSecret(volume.source)
                    ? "\(configuration.layout.secrets)/\(record.pod.uid)" : configuration.layout.volumes(record.pod.uid)
                plan.paths[name] = "\(base)/\(name)"
                plan.contents.append(.init(directory: "\(base)/\(name)", files: files))
            } else if case .hostPath(let path, let type) = volume.source {
                plan.hostPaths.append((name, path, type))
                plan.paths[name] = File.realPath(path) ?? path
            } else if case .claim(let claim, _) = volume.source {
                switch try place(of: claim, volume: name, record) {
                case .kept(let handle):
                    let directory = configuration.layout.claim(handle)
                    plan.paths[name] = directory
                    plan.kept.append(directory)
                case .hostPath(let path, let type):
                    plan.hostPaths.append((name, path, type))
                    plan.paths[name] = File.realPath(path) ?? path
                }
            } else if case .emptyDirectory(let inMemory, let size) = volume.source {
                let directory = "\(configuration.layout.volumes(record.pod.uid))/\(name)"
                plan.paths[name] = directory
                plan.empty.append((directory, inMemory, size))
            }
        }
        return plan
    }

    /// Brings volumes of running pods up to date after a ConfigMap or Secret has changed.
    func refreshVolumes(namespace: String) {
        for record in records.values
        where record.pod.namespace == namespace && !record.pod.volumes.isEmpty && !record.instances.isEmpty {
            // Deleted objects: running containers keep what they have.
            guard let plan = try? volumes(of: record) else { continue }
            begin { agent in
                do throws(WorkloadError) {
                    try await agent.pool.run { () throws(WorkloadError) in try plan.write() }
                } catch {
                    agent.log.error("volume not updated", ["pod": record.pod.fullName, "error": error.message])
                }
            }
        }
    }

    // MARK: Ends

    /// Waits for the container's monitor, which leaves the exit status behind.
    func watch(_ instance: ContainerRuntime.Instance, _ name: String, _ record: PodRecord) {
        func ended() { begin { await $0.ended(instance, name, record) } }
        if let logs = runtime.logs(of: instance, on: loop) {
            record.logTasks[name] = Task(executorPreference: loop) { await logs.run() }
        }
        guard let handle = try? ProcessHandle(pid: instance.monitor),
            ProcessHandle.startTime(of: instance.monitor) == instance.monitorStart, handle.isRunning
        else { return ended() }
        record.watches[name] = try? ExitWatch(handle, on: loop) { ended() }
        if record.watches[name] == nil { ended() }
    }

    private func ended(_ instance: ContainerRuntime.Instance, _ name: String, _ record: PodRecord) async {
        guard record.instances[name] == instance else { return }
        record.watches[name] = nil
        let runtime = runtime
        // What it said last is still on its way, and goes with the container.
        await record.logTasks.removeValue(forKey: name)?.value
        let (end, problem) = await pool.run {
            let end = runtime.exitStatus(of: instance)
            // Before the next run: a process that lost its monitor may still hold the pod's ports.
            var problem = runtime.remove(id: instance.id)
            do throws(SystemError) {
                try PodRemoval.unmount(below: instance.bundle)
                try File.removeTree(instance.bundle)
            } catch { problem = "\(error)" }
            return (end, problem)
        }
        if let problem { log.error("ended container not wholly removed", ["error": problem]) }
        guard !isStopping else { return }
        record.instances[name] = nil
        log.info(
            "container ended", ["pod": record.pod.fullName, "container": name, "code": "\(end.code)"])
        apply(.exited(container: name, code: end.code, reason: end.reason, message: end.message), to: record)
        writeJournal(record)
    }

    func terminate(_ name: String, _ record: PodRecord) async {
        guard let instance = record.instances[name] else { return }
        if let hook = record.container(name)?.preStop {
            let limit = Duration.seconds(record.pod.terminationGraceSeconds)
            if case .sleep(let seconds) = hook {
                await loop.sleep(for: min(.seconds(seconds), limit))
            } else if let failure = await check(hook, instance: instance, timeout: limit, record) {
                note(record, reason: "FailedPreStopHook", message: "\(name): \(failure)", isWarning: true)
            }
        }
        runtime.signal(instance, SIGTERM)
    }

    /// Asks the proxy to take no more connections; those that it has go on.
    func drainProxy(_ record: PodRecord) async {
        guard record.instances[SidecarPlan.containerName] != nil else { return }
        begin { await $0.collectRecording(record) }
        let answer = await Prober.http(
            .init(method: "POST", address: "127.0.0.1", port: 15_000, path: "/drain_listeners?graceful"),
            namespace: record.place?.namespacePath, timeout: .seconds(1), on: loop)
        if let problem = answer { log.warning("sidecar not drained", ["pod": record.pod.fullName, "error": problem]) }
    }

    // MARK: Probes

    func ask(_ kind: Probe.Kind, of name: String, _ record: PodRecord) async {
        let probe =
            record.container(name)?.probes[kind] ?? (record.role != .none ? SidecarPlan.readinessProbe : nil)
        guard let probe, let instance = record.instances[name] else { return }
        let failure = await check(probe.check, instance: instance, timeout: probe.timeout, record)
        guard record.instances[name] == instance else { return }
        apply(.answered(container: name, kind, isGood: failure == nil, message: failure ?? ""), to: record)
    }

    /// What is wrong, or nil when the answer is good.
    private func check(
        _ check: Probe.Check, instance: ContainerRuntime.Instance, timeout: Duration, _ record: PodRecord
    ) async -> String? {
        let address = record.facts.podIP.isEmpty ? "127.0.0.1" : record.facts.podIP
        let namespace = record.place?.namespacePath
        switch check {
        case .http(let port, let path, let host, let headers):
            var request = Prober.Request(method: "GET", address: host ?? address, port: port, path: path)
            request.headers = headers
            return await Prober.http(request, namespace: namespace, timeout: timeout, on: loop)
        case .tcp(let port, let host):
            return await Prober.tcp(host ?? address, port, namespace: namespace, timeout: timeout, on: loop)
        case .exec(let command):
            let (runtime, id) = (runtime, instance.id)
            return await pool.run {
                guard let (status, output) = runtime.execute(id, command, timeout: timeout) else {
                    return "command timed out"
                }
                guard !status.isSuccess else { return nil }
                return "command ended with \(status): \(String(decoding: output.prefix(200), as: UTF8.self))"
            }
        case .sleep: return nil
        }
    }
}
