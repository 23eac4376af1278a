public import APIServer
import KubernetesAPI
import Mesh
public import Serialization

/// Writes Events for `kubectl describe` and `kubectl get events`; equal notes about one object become one Event with a count.
public final class EventRecorder {
    /// How many notes are remembered for counting; older ones begin anew.
    static let rememberedMax = 1000

    private struct Note: Hashable {
        var uid: String
        var reason: String
        var message: String
    }

    private let registry: ObjectRegistry
    private let component: String
    private let now: () -> Timestamp
    private var known: [Note: (namespace: String, name: String)] = [:]
    private var counter: UInt64 = 0

    /// A recorder that signs as `component`.
    public init(_ registry: ObjectRegistry, component: String, now: @escaping () -> Timestamp) {
        self.registry = registry
        self.component = component
        self.now = now
    }

    /// Records a note; a failure is no reason to stop what the note is about.
    public func record(_ note: EventNote) {
        let about = note.about
        let key = Note(uid: about.metadata.uid, reason: note.reason, message: note.message)
        let time: JSON = .string(now().secondsText)
        if let event = known[key],
            (try? registry.modify(.event, event.namespace, event.name) { (json) throws(StatusError) in
                var json = json
                json["count"] = .integer(Int64((json["count"]?.int ?? 1) + 1))
                json["lastTimestamp"] = time
                return json
            }) != nil
        {
            return
        }
        if known.count >= Self.rememberedMax { known.removeAll() }
        let namespace = about.namespace.isEmpty ? "default" : about.namespace
        counter += 1
        let stamp = UInt64(bitPattern: now().seconds) &* 1_000_000 &+ UInt64(now().nanoseconds) / 1000
        let name = "\(about.name).\(String(stamp, radix: 16))\(String(counter, radix: 16))"
        let event: JSON = [
            "apiVersion": "v1", "kind": "Event",
            "metadata": ["name": .string(name), "namespace": .string(namespace)],
            "involvedObject": [
                "apiVersion": .string(about.apiVersion), "kind": .string(about.kind),
                "namespace": .string(about.namespace), "name": .string(about.name),
                "uid": .string(about.metadata.uid), "resourceVersion": .string(about.metadata.resourceVersion),
            ],
            "reason": .string(note.reason), "message": .string(note.message),
            "type": note.isWarning ? "Warning" : "Normal", "count": 1, "firstTimestamp": time, "lastTimestamp": time,
            "source": ["component": .string(component)], "reportingComponent": .string(component),
            "reportingInstance": "",
        ]
        guard (try? registry.create(event, .event, namespace: namespace)) != nil else { return }
        known[key] = (namespace, name)
    }
}
