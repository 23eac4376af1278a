internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Serialization

extension Command {
    static let describe = Command(
        "describe", "KIND NAME… | KIND/NAME…", "Show everything about objects, with their events",
        flags: [.namespace, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        let targets = try ObjectNames.parse(invocation.operands)
        let namespace = invocation.value(.namespace) ?? "default"
        return try onLoop { loop throws(CommandError) in
            let client = KubernetesClient(runDirectory: invocation.runDirectory, on: loop)
            for target in targets {
                var names = target.names
                if names.isEmpty {
                    let list = try await client.call(.get, target.kind.path(namespace: namespace))
                    names = (list.json["items"]?.array ?? []).map { KubernetesObject(json: $0).name }
                }
                for (index, name) in names.enumerated() {
                    let answer = try await client.call(.get, target.kind.path(namespace: namespace, name: name))
                    guard answer.isSuccess else { throw CommandError("Error from server: \(answer.message)") }
                    let object = KubernetesObject(json: answer.json)
                    let events = try await client.call(
                        .get, "/api/v1/namespaces/\(object.namespace.isEmpty ? "default" : object.namespace)/events",
                        query: [("fieldSelector", "involvedObject.name=\(name),involvedObject.kind=\(object.kind)")])
                    Console.out((index > 0 ? "\n\n" : "") + text(of: object, events: events.json["items"]?.array ?? []))
                }
            }
            return 0
        }
    }

    private static func text(of object: KubernetesObject, events: [JSON]) -> String {
        func pairs(_ map: [String: String], _ separator: String) -> String {
            let shown = map.filter { $0.key != Applier.lastApplied }.sorted { $0.key < $1.key }
            guard !shown.isEmpty else { return "<none>" }
            return shown.map { "\($0.key)\(separator)\($0.value)" }.joined(separator: "\n              ")
        }
        var text = "Name:         \(object.name)\n"
        if !object.namespace.isEmpty { text += "Namespace:    \(object.namespace)\n" }
        text += "Labels:       \(pairs(object.metadata.labels, "="))\n"
        text += "Annotations:  \(pairs(object.metadata.annotations, ": "))\n"
        text += "API Version:  \(object.apiVersion)\nKind:         \(object.kind)\n"
        text += "Created:      \(object.metadata.creationTimestamp)\n"
        for owner in object.metadata.ownerReferences where owner.isController {
            text += "Controlled By:  \(owner.kind)/\(owner.name)\n"
        }
        let hidden: Set = ["apiVersion", "kind", "metadata"]
        for (name, value) in (object.json.object ?? [:]).sorted(by: { $0.key < $1.key }) where !hidden.contains(name) {
            text += "\(name.prefix(1).uppercased())\(name.dropFirst()):\n"
            let shown = object.kind == "Secret" && (name == "data" || name == "stringData") ? sizes(value) : value
            text += YAML.write(shown).split(separator: "\n").map { "  \($0)\n" }.joined()
        }
        guard !events.isEmpty else { return text + "Events:  <none>\n" }
        let rows = events.map { event in
            row(of: event)
        }.sorted { $0[3] < $1[3] }
        let table = TextTable(header: ["Type", "Reason", "Count", "Last", "From", "Message"], rows: rows)
        return text + "Events:\n" + table.text.split(separator: "\n").map { "  \($0)\n" }.joined()
    }

    private static func row(of event: JSON) -> [String] {
        func text(_ name: String) -> String { event[name]?.string ?? "" }
        let last = text("lastTimestamp").isEmpty ? text("eventTime") : text("lastTimestamp")
        let source = event["source"]?["component"]?.string ?? text("reportingComponent")
        return [text("type"), text("reason"), "x\(event["count"]?.int ?? 1)", last, source, text("message")]
    }

    /// A Secret's values are not shown, only how long they are.
    private static func sizes(_ data: JSON) -> JSON {
        .object((data.object ?? [:]).mapValues { .string("\(Base64.decode($0.string ?? "")?.count ?? 0) bytes") })
    }
}
