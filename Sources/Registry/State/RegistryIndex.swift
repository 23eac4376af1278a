import Serialization
import Store

/// What a question is about: who waits for its answer to change is woken by changes of it.
enum Topic: Hashable, Sendable {
    /// One key.
    case key(String)
    /// All keys that begin so.
    case keys(prefix: String)
    /// The instances of a service, their nodes and their checks.
    case service(String)
    /// A node, its services and its checks.
    case node(String)
    /// All nodes.
    case nodes
    /// All services.
    case services
    /// All checks.
    case checks
    /// All sessions.
    case sessions
    /// All intentions.
    case intentions
}

/// When topics last changed, as `X-Consul-Index` tells it.
///
/// What changed before this server looked has the index `floor`: indices may grow by looking elsewhere or after a restart, but a change
/// after an index always gets a larger one, as all of them are revisions of the store.
final class RegistryIndex {
    /// Topics that are remembered; when there are more, all that is forgotten counts as changed now.
    static let topicsMax = 50_000

    private var floor: Revision
    private var changed: [Topic: Revision] = [:]

    init(floor: Revision) { self.floor = floor }

    /// The revision of the last change of a topic.
    func index(of topic: Topic) -> Revision {
        guard case .keys(let prefix) = topic else { return changed[topic] ?? floor }
        var newest = floor
        for (topic, revision) in changed where revision > newest {
            if case .key(let key) = topic, key.hasPrefix(prefix) { newest = revision }
        }
        return newest
    }

    /// These topics have changed.
    func note(_ topics: Set<Topic>, at revision: Revision) {
        if changed.count > Self.topicsMax {
            changed = [:]
            floor = revision
        }
        for topic in topics { changed[topic] = revision }
    }

    /// Nobody knows what has changed.
    func forget(at revision: Revision) {
        changed = [:]
        floor = max(floor, revision)
    }

    /// Whether somebody who asked about `topic` is to be woken by a change of one of these.
    static func wakes(_ topic: Topic, _ changed: Set<Topic>) -> Bool {
        guard case .keys(let prefix) = topic else { return changed.contains(topic) }
        return changed.contains { if case .key(let key) = $0 { key.hasPrefix(prefix) } else { false } }
    }
}

extension RegistryState {
    /// What a change of an object touches.
    func topics(of event: StoreEvent) -> Set<Topic> {
        guard let table = Table.allCases.first(where: { $0.resource == event.object.key.resource }) else { return [] }
        var topics: Set<Topic> = []
        for json in [event.object.object, event.previous ?? .null] where !json.isNull {
            let node = json["Node"]?.string ?? ""
            switch table {
            case .keys: topics.insert(.key(json["Key"]?.string ?? ""))
            case .sessions: topics.insert(.sessions)
            case .intentions: topics.insert(.intentions)
            case .delays: break
            case .services:
                topics.formUnion([.services, .node(node), .service(json["Service"]?.string ?? "")])
            case .nodes:
                topics.formUnion([.nodes, .node(node)])
                for row in rows(.services, of: node) { topics.insert(.service(row.text("Service"))) }
            case .checks:
                topics.formUnion([.checks, .node(node)])
                let id = json["ServiceID"]?.string ?? ""
                for row in rows(.services, of: node) where id.isEmpty || row.text("ID") == id {
                    topics.insert(.service(row.text("Service")))
                }
                if let name = json["ServiceName"]?.string, !name.isEmpty { topics.insert(.service(name)) }
            }
        }
        return topics
    }
}
