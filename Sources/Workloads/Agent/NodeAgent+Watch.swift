internal import IO
internal import KubernetesAPI
internal import Serialization
internal import Telemetry

extension NodeAgent {
    /// Mirrors what pods refer to, and then follows the pods themselves.
    func watchEverything() async {
        for kind in ObjectMirror.Kind.allCases
        where !followsByName || kind != .secret && kind != .configMap {
            // The first lists come before the first pod: a pod's ConfigMap is known when the pod is.
            let version = await listUntilItWorks(kind.rawValue) { $0.mirror.replace(kind, $1) }
            begin(isLasting: true) { agent in
                await agent.follow(kind.rawValue, from: version, replace: { $0.replaced(kind, $1) }) {
                    $0.changed(kind, $1, $2)
                }
            }
        }
        serviceChanged()
        nodesChanged()
        reclaim()
        followReferences()
        begin(isLasting: true) { await $0.keepWays() }
        // All pods, also those of other nodes: policies name them by their labels.
        let path = "/api/v1/pods"
        let version = await listUntilItWorks(path) { $0.replacePods($1) }
        await follow(path, from: version, replace: { $0.replacePods($1) }) { $0.podChanged($1, $2) }
    }

    func listUntilItWorks(_ path: String, _ take: (isolated NodeAgent, [JSON]) -> Void) async -> String {
        var pause = Duration.milliseconds(20)
        while !isStopping, !Task.isCancelled {
            do throws(APIError) {
                let list = try await api.send("GET", path, body: nil, contentType: "")
                take(self, list["items"]?.array ?? [])
                return list["metadata"]?["resourceVersion"]?.string ?? ""
            } catch {
                if pause >= .milliseconds(500) { log.warning("list failed", ["path": path, "error": "\(error)"]) }
                await loop.sleep(for: pause)
                pause = min(pause * 2, .seconds(1))
            }
        }
        return ""
    }

    /// Follows a collection for ever: watch, and list again whenever the watch cannot go on.
    func follow(
        _ path: String, from first: String, replace: (isolated NodeAgent, [JSON]) -> Void,
        _ change: (isolated NodeAgent, String, JSON) -> Void
    ) async {
        var version = first
        while !isStopping, !Task.isCancelled {
            var mustList = false
            let query =
                (path.contains("?") ? "&" : "?") + "watch=true&allowWatchBookmarks=true&resourceVersion=\(version)"
            do throws(APIError) {
                try await api.watch(path + query) { event in
                    let type = event["type"]?.string ?? ""
                    let object = event["object"] ?? .null
                    guard type != "ERROR" else {
                        mustList = true
                        return
                    }
                    if let newer = object["metadata"]?["resourceVersion"]?.string { version = newer }
                    if type != "BOOKMARK", !isStopping { change(self, type, object) }
                }
            } catch {
                log.debug("watch ended", ["path": path, "error": "\(error)"])
                mustList = mustList || error.status == 410
            }
            guard !isStopping, !Task.isCancelled else { return }
            await loop.sleep(for: .milliseconds(50))
            // A control plane that was started anew may have another history: listing is always right.
            version = await listUntilItWorks(path, replace)
        }
    }

    private func replaced(_ kind: ObjectMirror.Kind, _ items: [JSON]) {
        mirror.replace(kind, items)
        switch kind {
        case .service, .slice: serviceChanged()
        case .configMap, .secret:
            for namespace in Set(records.values.map(\.pod.namespace)) { refreshVolumes(namespace: namespace) }
        case .namespace, .networkPolicy, .adminNetworkPolicy, .baselineAdminNetworkPolicy: policyChanged()
        case .node: nodeChanged()
        case .volume: reclaim()
        case .claim: break  // Who waits for one looks again by himself.
        }
    }

    private func changed(_ kind: ObjectMirror.Kind, _ type: String, _ object: JSON) {
        if type == "DELETED" { mirror.remove(kind, object) } else { mirror.set(kind, object) }
        switch kind {
        case .service, .slice: serviceChanged()
        case .configMap, .secret: refreshVolumes(namespace: KubernetesObject(json: object).namespace)
        case .namespace, .networkPolicy, .adminNetworkPolicy, .baselineAdminNetworkPolicy: policyChanged()
        case .node: nodeChanged()
        case .volume: reclaim()
        case .claim: break  // Who waits for one looks again by himself.
        }
    }

    // MARK: Pods

    private func replacePods(_ items: [JSON]) {
        var there: Set<String> = []
        policyPods = [:]
        policiesAreKnown = true
        for item in items {
            there.insert(KubernetesObject(json: item).metadata.uid)
            podChanged("ADDED", item)
        }
        for record in records.values where !there.contains(record.pod.uid) { forget(record) }
        refused.formIntersection(there)
        policyChanged()
        let (network, keep) = (network, Set(records.keys).union(there))
        begin { agent in
            do throws(WorkloadError) {
                try await agent.pool.run { () throws(WorkloadError) in try network.keep(only: keep) }
            } catch { agent.log.error("leftover networks not removed", ["error": error.message]) }
        }
    }

    private func podChanged(_ type: String, _ json: JSON) {
        let object = KubernetesObject(json: json)
        let uid = object.metadata.uid
        policySaw(object, isGone: type == "DELETED")
        let node = object.spec["nodeName"]?.string ?? ""
        // What nobody has bound runs beside the API server.
        let isOurs = node == configuration.nodeName || node.isEmpty && configuration.controlPlane == nil
        guard !uid.isEmpty, isOurs else { return }
        if let record = records[uid] {
            if type == "DELETED" { return forget(record) }
            record.object = object
            takeBackReadiness(record)
            takeEphemeral(record)
            update(record)
        } else if type == "DELETED" {
            refused.remove(uid)
        } else {
            add(object)
        }
    }

    private func add(_ object: KubernetesObject) {
        let uid = object.metadata.uid
        let phase = object.status["phase"]?.string ?? ""
        if object.metadata.deletionTimestamp != nil {
            // Nothing of it runs here: it can go at once.
            begin { await $0.deleteObject(namespace: object.namespace, name: object.name, uid: uid) }
            return
        }
        guard phase != "Succeeded", phase != "Failed", !refused.contains(uid) else { return }
        do throws(WorkloadError) {
            let pod = try PodManifest(object)
            var role = SidecarPlan.role(of: pod, namespaceLabels: mirror.namespaceLabels(pod.namespace))
            if role == .sidecar, configuration.proxyProgram == nil { role = .none }
            var facts = PodFacts()
            facts.hostIPs = configuration.hostAddresses
            facts.apiAddress = configuration.apiAddress
            facts.nodeName = configuration.nodeName
            let record = PodRecord(
                object: object, pod: pod, role: role, facts: facts, startedAt: WallClock.now.seconds)
            record.writtenStatus = object.status
            records[uid] = record
            followReferences()
            log.info("pod added", ["pod": pod.fullName])
            writeStatus(record)
            begin { await $0.prepare(record) }
        } catch {
            refused.insert(uid)
            log.warning("pod refused", ["pod": "\(object.namespace)/\(object.name)", "error": error.message])
            begin { await $0.refuse(object, error) }
        }
    }

    private func update(_ record: PodRecord) {
        let metadata = record.object.metadata
        guard metadata.deletionTimestamp != nil else { return }
        if !record.life.isDeleting {
            let grace = record.object.json["metadata"]?["deletionGracePeriodSeconds"]?.int
            let seconds = grace ?? record.pod.terminationGraceSeconds
            let wasReady = record.life.isReady
            apply(.deletionRequested(graceSeconds: seconds), to: record)
            // The control plane says when no proxy sends requests here any more; without it, time says so.
            let limit = Duration.milliseconds(min(10, max(0, seconds)) * 500) + .seconds(1)
            record.drainDeadline = wasReady && seconds > 0 ? .now + limit : .now
            writeJournal(record)
            apply(.tick, to: record)
        } else if let seconds = record.object.json["metadata"]?["deletionGracePeriodSeconds"]?.int {
            // Deleted again with less patience (`kubectl delete --now`).
            apply(.deletionRequested(graceSeconds: seconds), to: record)
        }
        if metadata.annotations["skein.dev/drained"] != nil, record.drainDeadline != nil {
            record.drainDeadline = nil
            apply(.drained, to: record)
        }
    }

    /// The object is gone: the pod must go too, whatever it is doing.
    private func forget(_ record: PodRecord) {
        guard !record.isRemoved else { return }
        apply(.deletionRequested(graceSeconds: record.life.isDeleting ? 2 : 1), to: record)
        apply(.drained, to: record)
    }

    // MARK: Services

    /// The zone that this node's labels name.
    private var zone: String? { mirror.nodeLabels(configuration.nodeName)[Node.zoneLabel] }

    /// A node is another: the ways to it may be, and where this one is.
    private func nodeChanged() {
        nodesChanged()
        if areServicesServed, zone != servedZone { serviceChanged() }
    }

    /// Brings the kernel's service rules up to date, once for many changes that come together.
    ///
    /// The cost is that of the services that have changed.
    func serviceChanged() {
        guard !isServing else {
            mustServeAgain = true
            return
        }
        isServing = true
        begin { agent in
            repeat {
                await agent.loop.sleep(for: .milliseconds(10))
                agent.mustServeAgain = false
                let (network, zone) = (agent.network, agent.zone)
                let changes = agent.mirror.takeServiceChanges()
                agent.servedZone = zone
                agent.takeHealthPorts(changes)
                agent.configuration.servicesChanged?(changes)
                do throws(WorkloadError) {
                    let problems = Set(
                        try await agent.pool.run { () throws(WorkloadError) in
                            try network.serve(changes, zone: zone)
                        })
                    for problem in problems.subtracting(agent.serviceProblems).sorted() {
                        agent.log.warning("service not served", ["problem": problem])
                    }
                    agent.serviceProblems = problems
                    agent.areServicesServed = true
                } catch {
                    agent.areServicesServed = false
                    agent.mirror.tellServicesAnew()
                    agent.log.error("service rules not written", ["error": error.message])
                    await agent.loop.sleep(for: .seconds(1))
                    agent.mustServeAgain = !agent.isStopping
                }
            } while agent.mustServeAgain
            agent.isServing = false
        }
    }

    /// Lets the host's gateway ports lead to the gateway pod, the youngest ready one when there are several.
    func updateGateway() {
        let gateways = records.values.filter { $0.role == .gateway && !$0.facts.podIP.isEmpty && !$0.life.isDeleting }
        let best = gateways.sorted {
            ($0.life.isReady ? 1 : 0, $0.startedAt, $0.pod.uid) > ($1.life.isReady ? 1 : 0, $1.startedAt, $1.pod.uid)
        }.first
        guard best?.facts.podIP != gatewayTarget else { return }
        gatewayTarget = best?.facts.podIP
        let (network, target) = (network, gatewayTarget)
        begin { agent in
            do throws(WorkloadError) {
                try await agent.pool.run { () throws(WorkloadError) in try network.lead(gatewayTo: target) }
            } catch {
                agent.log.error("gateway ports not led to the gateway pod", ["error": error.message])
                agent.gatewayTarget = nil
            }
        }
    }
}
