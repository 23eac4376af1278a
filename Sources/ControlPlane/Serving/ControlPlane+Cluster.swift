import APIServer
import HTTP
import IO
import KubernetesAPI
import Mesh
import Serialization
import Telemetry

// The control plane of somebody else's Kubernetes: no store, no API and no controllers of ours, the same mesh.
extension ControlPlaneServer {
    /// How often it is told what is still waited for.
    private static let patience = Duration.seconds(10)

    func openCluster(_ kubeconfig: String) throws(ControlPlaneError) {
        let text: String
        do throws(SystemError) { text = try File.text(kubeconfig) } catch {
            throw ControlPlaneError("the kubeconfig: \(error)")
        }
        let access: ClusterAccess
        do throws(KubeconfigError) {
            access = try ClusterAccess(kubeconfig: text, file: kubeconfig, directory: File.parent(of: kubeconfig))
        } catch {
            throw ControlPlaneError(error.description)
        }
        do throws(SystemError) { try File.makeDirectory(control, mode: 0o700) } catch {
            throw ControlPlaneError("\(error)")
        }
        let connection = ClusterConnection(access, on: loop)
        let kinds = ProxyStreams.kinds + [.serviceAccount].filter { !ProxyStreams.kinds.contains($0) }
        let source = ClusterSource(connection, kinds: kinds, on: loop)
        source.isWriter = false
        cluster = source
        let streams = openStreams(source)
        self.streams = streams
        _ = RateLimitService(for: streams)
        try openSignals()
        try openOverview(source, streams)
        let identity = "\(Environment.hostName)_\(String(UInt64.random(in: 0 ... .max), radix: 16))"
        let election = LeaderElection(connection, identity: identity, on: loop, wall: Self.now) { [weak source] leads in
            source?.isWriter = leads
        }
        self.election = election
        election.run()
        log.info(
            "following a Kubernetes API",
            ["context": access.context, "server": "\(access.host):\(access.port)\(access.pathPrefix)"])
        source.start { [weak self] in self?.synced(source, streams) }
        tellWaiting(source)
    }

    private func tellWaiting(_ source: ClusterSource) {
        _ = loop.schedule(after: Self.patience) { [weak self, weak source] in
            guard let self, let source, !source.isSynced else { return }
            self.log.warning(
                "not serving yet: kinds cannot be read", ["problems": source.problems.joined(separator: "; ")])
            self.tellWaiting(source)
        }
    }

    /// Fetches the keys with which the API signs tokens, again and again.
    private func followTokenKeys(_ connection: ClusterConnection) {
        let (loop, log) = (loop, log)
        tasks.append(
            Task(executorPreference: loop) { [weak self] in
                var pause = Duration.seconds(1)
                while !Task.isCancelled {
                    do throws(StatusError) {
                        let discovery = try await connection.send(.get, ClusterTokens.discoveryPath)
                        let keySet = try await connection.send(.get, ClusterTokens.keysPath)
                        if let tokens = ClusterTokens(discovery: discovery, keySet: keySet) {
                            self?.meshAuthority?.clusterTokens = tokens
                        } else {
                            log.warning("the API's token keys cannot be read: no token is taken")
                        }
                        pause = ClusterTokens.interval
                    } catch {
                        // An API that tells none: proxies without an agent need certificates then.
                        log.info("the API does not tell its token keys", ["error": error.message])
                        pause = min(pause * 2, ClusterTokens.interval)
                    }
                    await loop.sleep(for: pause)
                }
            })
    }

    /// Everything is known once: only now proxies are served, as half of the world would take away from them what they have.
    private func synced(_ source: ClusterSource, _ streams: ProxyStreams) {
        do throws(ControlPlaneError) {
            do throws(StatusError) {
                try openNames(streams)
                try streams.start { [weak self] in self?.wakeStreams() }
            } catch {
                throw ControlPlaneError("the objects of the Kubernetes API: \(error.message)")
            }
            try openAgent(streams, source)
            try openDiscovery(streams)
            followTokenKeys(source.connection)
            let absent = source.absent.map(\.qualifiedPlural)
            log.info(
                "ready",
                ["metrics": options.metricsAddress.description, "missing kinds": absent.joined(separator: ",")])
        } catch {
            failure = error
            stop()
        }
    }
}
