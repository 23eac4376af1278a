import APIServer
import DNS
import HTTP
import IO
import KubernetesAPI
import Mesh
import Registry
import Serialization
import Store
import Telemetry

// The registry of programs that are no pods: opened, told who may what, and followed.
extension ControlPlaneServer {
    /// The group of the registry's resources in roles.
    static let programsGroup = "registry.skein.dev"

    func openPrograms(_ registry: ObjectRegistry, _ store: ReplicaStore) throws(ControlPlaneError) {
        var settings = RegistrySettings(node: options.nodeName)
        settings.domain = options.registryDomain
        settings.datacenter = options.registryDatacenter
        settings.allowsScripts = options.registryScripts
        let state = RegistryState(store, settings)
        let server = RegistryServer(state, on: loop) {
            let now = WallClock.now
            return now.seconds * 1000 + Int64(now.nanoseconds / 1_000_000)
        }
        server.leads = { [weak self] in self?.decides == true }
        server.judge = { [weak router] token in
            guard let router, let user = try? router.authenticate(token) else { return nil }
            return { wish in
                router.allows(
                    user, verb: wish.verb, group: Self.programsGroup, resource: wish.resource, name: wish.name)
            }
        }
        server.hostNames.formUnion(options.apiNames)
        if case .ip(let address, _) = options.registryAddress { server.hostNames.insert("\(address)") }
        programs = server
        programObjects = RegistryWriter(registry)
        server.changed = { [weak self] in self?.followProgramsSoon() }
        server.start()
        try listenForPrograms(server)
        findAddress()
        followProgramsSoon()
        // The node's agent says its address when it is there, after us.
        every(.seconds(1)) { [weak self] in self?.findAddress() }
        // Also what somebody else has changed, and what could not be written.
        every(.seconds(5)) { [weak self] in self?.followProgramsSoon() }
    }

    private func listenForPrograms(_ server: RegistryServer) throws(ControlPlaneError) {
        let path = options.runDirectory + "/registry.sock"
        let local = try listener(.unix(path), "the registry")
        // The peer's credentials decide; the mode lets root in and nobody else.
        do throws(SystemError) { try File.chmod(path, 0o600) } catch {
            throw ControlPlaneError("the registry's socket: \(error)")
        }
        let limits = server.httpLimits
        let front = HTTPServer(on: loop, limits: limits) { request in
            guard request.peer.credentials?.uid == 0 else {
                return HTTPResponse(status: 403, text: "Permission denied: the socket is for root")
            }
            return await server.handle(request, judge: { _ in true }, checksHost: false)
        }
        tasks.append(Task(executorPreference: loop) { await front.run(local) })
        guard let address = options.registryAddress else { return }
        let remote = try listener(address, "the registry")
        let open = HTTPServer(on: loop, limits: limits) { request in
            await server.handle(request, checksHost: true)
        }
        tasks.append(Task(executorPreference: loop) { await open.run(remote) })
        log.info("programs can be registered", ["address": address.description])
    }

    /// The address of this node, as its agent has said it.
    private func findAddress() {
        guard let programs, let registry,
            let node = try? registry.get(.node, "", options.nodeName).json,
            let address = node["status"]?["addresses"]?.array?.first(where: { $0["type"] == "InternalIP" })?["address"]?
                .string, address != programs.state.settings.address
        else { return }
        programs.state.moved(to: address)
        do throws(RegistryError) { try programs.state.registerSelf(programs.moment()) } catch {
            log.error("this node is not registered", ["error": error.text])
        }
    }

    private func followProgramsSoon() {
        guard !programsAreDue else { return }
        programsAreDue = true
        loop.execute {
            self.programsAreDue = false
            self.followPrograms()
        }
    }

    private func followPrograms() {
        guard let programs, let programObjects, !isStopping else { return }
        let state = programs.state
        let view = state.view(trustDomain: meshAuthority?.trustDomain() ?? Mesh.clusterDomain)
        programObjects.learn(view)
        var names = RegisteredNames(domain: state.settings.domain, datacenter: state.settings.datacenter)
        names.nodes = view.nodes.compactMapValues { IPAddress($0) }
        names.instances = view.instances.compactMap { instance in
            guard instance.isHealthy, let address = IPAddress(instance.address) else { return nil }
            return RegisteredNames.Instance(
                service: instance.service, tags: instance.tags, node: instance.node, address: address,
                port: instance.port, weight: instance.weight)
        }
        self.names?.take(names, hosts: programObjects.hosts)
        // What fails is tried again at the next turn.
        if decides, !programObjects.write(view) { state.counters.failedWrites.add() }
    }
}
