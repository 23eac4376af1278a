public import DNS
public import IO
import KubernetesAPI
public import Serialization

/// What a joined machine's name server has been told.
///
/// Belongs to the name server's loop.
public final class ToldNames {
    private let server: DNSServer
    private let fallback: UpstreamGroup
    private let loop: EventLoop
    private var services: [String: ServiceNames] = [:]
    private var hosts: [String: [IPAddress]] = [:]
    private var configMaps: JSON?
    private var reverse: [Prefix] = []
    /// Where it answers: two sockets each, in this order.
    public private(set) var addresses: [IPAddress] = []
    private var serial: UInt32 = 0
    /// Before then names are not made anew.
    private var due = MonotonicTime.now
    private var timer: LoopTimer?

    /// Names that a server answers, with the forwarder of everything else; on the server's loop.
    public init(_ server: DNSServer, _ fallback: UpstreamGroup, _ loop: EventLoop) {
        self.server = server
        self.fallback = fallback
        self.loop = loop
    }

    /// Takes what the agent says: services that have changed, and whatever else it names.
    public func take(_ json: JSON) {
        if json["isWhole"]?.bool == true { services = [:] }
        for (key, parts) in json["services"]?.object ?? [:] {
            let slices = (parts["slices"]?.array ?? []).map { KubernetesObject(json: $0) }
            services[key] = parts["service"].flatMap {
                NameFeed.services([KubernetesObject(json: $0)], slices: slices).first
            }
        }
        if let told = json["servers"]?.array { addresses = told.compactMap(\.string).compactMap { IPAddress($0) } }
        if let ranges = json["reverse"]?.array { reverse = ranges.compactMap(\.string).compactMap { Prefix($0) } }
        if let told = json["hosts"]?.object {
            hosts = told.mapValues { ($0.array ?? []).compactMap(\.string).compactMap { IPAddress($0) } }
        }
        if let maps = json["configMaps"], maps != configMaps {
            configMaps = maps
            let settings = (maps.object ?? [:]).mapValues { ($0.object ?? [:]).compactMapValues(\.string) }
            server.use(NameSettings(configMaps: settings, fallback: fallback))
        }
    }

    /// Makes the names anew: at once, unless that has just taken long.
    ///
    /// Then it takes a twentieth of the time at most.
    public func publish() {
        guard timer == nil else { return }
        let begin = MonotonicTime.now
        guard begin >= due else {
            timer = loop.schedule(after: due - begin) { [self] in
                timer = nil
                publish()
            }
            return
        }
        serial &+= 1
        server.publish(
            Zone(
                services: services.sorted { $0.key < $1.key }.map(\.value), reversePrefixes: reverse, hosts: hosts,
                servers: addresses, serial: serial))
        let end = MonotonicTime.now
        due = end + (end - begin) * 19
    }
}
