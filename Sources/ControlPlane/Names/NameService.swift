import DNS
import IO
import KubernetesAPI
import Mesh
import Serialization
import Telemetry

/// Names of the cluster: what is answered here, and what joined machines are told for their own name servers.
///
/// The server has a thread of its own, so that a storm of queries takes no time from the control plane. `@unchecked Sendable`:
/// everything else belongs to the control plane's loop (docs/threads.md).
final class NameService: @unchecked Sendable {
    private let loop: EventLoop
    private let server: DNSServer
    private let fallback: UpstreamGroup
    private let reversePrefixes: [Prefix]
    private let log = Logger("names")
    private var services: [ServiceNames] = []
    /// Hosts of ServiceEntries, those of registered programs among them.
    private var allHosts: [String: [IPAddress]] = [:]
    private var programs: RegisteredNames?
    private var programHosts: Set<String> = []
    private var configMaps: [String: [String: String]] = [:]
    /// Addresses on which names are answered.
    private var places: [IPAddress] = []
    private var serial: UInt32 = 0
    /// Called with what joined machines must know besides services, when it has changed.
    var furtherChanged: (JSON) -> Void = { _ in }

    /// Answers names, on a new thread; ranges are those of pods and services.
    init(reversePrefixes: [Prefix]) throws(SystemError) {
        self.reversePrefixes = reversePrefixes
        loop = try EventLoop.start(name: "skein-names")
        fallback = UpstreamGroup(ResolverConfiguration.host())
        server = DNSServer(on: loop, forwarder: Forwarder(ForwardingPlan(fallback), on: loop))
    }

    var counts: DNSCounts { server.counts }

    /// The names of services, and further hosts with their addresses.
    func update(_ services: [ServiceNames], hosts: [String: [IPAddress]]) {
        guard services != self.services || hosts != allHosts || serial == 0 else { return }
        let areOthers = hosts != allHosts
        self.services = services
        allHosts = hosts
        publish()
        if areOthers { furtherChanged(further) }
    }

    /// Registered programs, and their hosts in the mesh: that knows the addresses of all instances, names stand for those that are well.
    func take(_ programs: RegisteredNames, hosts: Set<String>) {
        guard programs != self.programs || hosts != programHosts else { return }
        self.programs = programs
        programHosts = hosts
        publish()
    }

    private func publish() {
        serial &+= 1
        let end = programs.map { ".service." + $0.domain }
        // Joined machines have no such zone: they are told all hosts.
        let hosts =
            end.map { end in allHosts.filter { !($0.key.hasSuffix(end) && programHosts.contains($0.key)) } } ?? allHosts
        server.publish(
            Zone(
                domain: Mesh.clusterDomain, services: services, reversePrefixes: reversePrefixes, hosts: hosts,
                servers: places, serial: serial))
        if let programs {
            server.publish(Zone(registered: programs, servers: places, serial: serial), as: "programs")
        }
    }

    /// Settings from the ConfigMaps of the cluster.
    func use(_ objects: [KubernetesObject]) {
        var data: [String: [String: String]] = [:]
        for object in objects
        where object.namespace == NameSettings.namespace && NameSettings.configMaps.contains(object.name) {
            data[object.name] = (object.json["data"]?.object ?? [:]).compactMapValues(\.string)
        }
        guard data != configMaps else { return }
        configMaps = data
        let settings = NameSettings(configMaps: data, fallback: fallback)
        for problem in settings.problems { log.warning("settings of names", ["problem": problem]) }
        log.info("settings of names", ["domains": "\(settings.plan.groups.count)", "logged": "\(settings.logs.count)"])
        server.use(settings)
        furtherChanged(further)
    }

    /// What joined machines must know besides services: one message of the control plane to a node's agent.
    var further: JSON {
        [
            "op": "names",
            "hosts": .object(allHosts.mapValues { .array($0.map { .string($0.description) }) }),
            "configMaps": .object(configMaps.mapValues { .object($0.mapValues { .string($0) }) }),
        ]
    }

    /// Answers on a socket that the node's agent has bound.
    func serve(_ socket: Socket, address: String, transport: String) {
        if let place = SocketAddress(address)?.address, !places.contains(place) {
            places.append(place)
            if serial > 0 { publish() }
        }
        let log = log
        server.serve(descriptor: socket.release(), isStream: transport != "udp") { error in
            log.error("names cannot be answered", ["address": address, "error": error.description])
        }
        log.info("answering names", ["address": address, "transport": transport])
    }

    /// Ends serving, and the thread.
    func stop() {
        server.stop()
        loop.stop()
    }
}
