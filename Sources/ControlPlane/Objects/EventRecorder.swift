import APIServer
import KubernetesAPI
import Mesh
public import Serialization

/// Writes Events for `kubectl describe` and `kubectl get events`; equal notes about one object become one Event with a count.
public final class EventRecorder {
    /// How many notes are remembered for counting; older ones begin anew.
    static let rememberedMax = 1000

    /// With more different messages of one reason than that about one object, the rest become one Event.
    static let similarMax = 10
    /// After how many seconds the counting of similar ones begins anew.
    static let similarSeconds: Int64 = 600

    private struct Subject: Hashable {
        var uid: String
        var reason: String
    }

    private struct Note: Hashable {
        var uid: String
        var reason: String
        var message: String
    }

    private let source: any ObjectSource
    private let component: String
    private let now: () -> Timestamp
    private var known: [Note: NamespacedName] = [:]
    private var similar: [Subject: (messages: Set<String>, since: Int64)] = [:]
    private var counter: UInt64 = 0

    /// A recorder that signs as `component`.
    public init(_ source: any ObjectSource, component: String, now: @escaping () -> Timestamp) {
        self.source = source
        self.component = component
        self.now = now
    }

    /// Records a note; a failure is no reason to stop what the note is about.
    public func record(_ note: EventNote) {
        let about = note.about
        let isOneOfMany = self.isOneOfMany(note)
        var note = note
        if isOneOfMany { note.message = "(combined from similar events): " + note.message }
        // Those that are combined share a place whatever they say; the last message stands there.
        let key = Note(uid: about.metadata.uid, reason: note.reason, message: isOneOfMany ? "" : note.message)
        guard let event = known[key] else { return create(note, key) }
        let time: JSON = .string(now().secondsText)
        let message: JSON = .string(String(note.message.prefix(1024)))
        source.modify(
            .event, event, subresource: "",
            { json in
                var json = json
                json["count"] = .integer(Int64((json["count"]?.int ?? 1) + 1))
                json["lastTimestamp"] = time
                json["message"] = message
                return json
            },
            { [weak self] problem in
                // Events go after an hour.
                if problem != nil { self?.create(note, key) }
            })
    }

    private func isOneOfMany(_ note: EventNote) -> Bool {
        let subject = Subject(uid: note.about.metadata.uid, reason: note.reason)
        let time = now().seconds
        if similar.count >= Self.rememberedMax { similar.removeAll() }
        var entry = similar[subject] ?? ([], time)
        if entry.since + Self.similarSeconds < time { entry = ([], time) }
        if entry.messages.count < Self.similarMax { entry.messages.insert(note.message) }
        similar[subject] = entry
        return !entry.messages.contains(note.message)
    }

    private func create(_ note: EventNote, _ key: Note) {
        let about = note.about
        let time: JSON = .string(now().secondsText)
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
            "reason": .string(note.reason), "message": .string(String(note.message.prefix(1024))),
            "type": note.isWarning ? "Warning" : "Normal", "count": 1, "firstTimestamp": time, "lastTimestamp": time,
            "source": ["component": .string(component)], "reportingComponent": .string(component),
            "reportingInstance": "",
        ]
        known[key] = NamespacedName(namespace: namespace, name: name)
        source.create(.event, event, namespace: namespace) { [weak self] result in
            if case .failure = result { self?.known[key] = nil }
        }
    }
}
