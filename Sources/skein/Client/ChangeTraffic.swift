internal import HTTP
internal import KubernetesAPI
internal import Mesh
internal import Serialization

/// What applying objects would have the control plane send: T_cd = Σ C_ij·D_ij, the messages to each proxy and their bytes, by node and by cause.
struct ChangeTraffic: Sendable {
    /// What goes to the proxies of one node.
    struct Node: Sendable, Hashable {
        /// Its name; `-` where the control plane does not know it.
        var name: String
        /// Its zone; empty without one.
        var zone: String
        var proxies = 0
        var messages = 0
        var bytes = 0
    }

    /// The answer of `/skein/v1/forecast`.
    var answer: JSON
    /// Where the pods run: `namespace/name` to the node's name.
    var nodeOfPod: [String: String]
    /// The zones of nodes.
    var zoneOfNode: [String: String]

    /// Asks for the manifests' objects, applied over the live ones.
    static func ask(_ client: KubernetesClient, _ manifests: [Manifest]) async throws(CommandError) -> ChangeTraffic {
        var items: [JSON] = []
        for manifest in manifests {
            let object = KubernetesObject(
                json: SchemaTable.standard.applyDefaults(to: manifest.object.json, of: manifest.kind))
            let namespace = manifest.kind.isNamespaced ? object.namespace : nil
            let live = try await client.call(.get, manifest.kind.path(namespace: namespace) + "/" + object.name)
            guard live.isSuccess || live.status == 404 else {
                throw CommandError("Error from server: \(live.message)")
            }
            items.append(object.applied(over: live.isSuccess ? KubernetesObject(json: live.json) : nil).json)
        }
        let answer = try await client.call(.post, "/skein/v1/forecast", body: ["items": .array(items)])
        guard answer.isSuccess else { throw CommandError("Error from server: \(answer.message)") }
        let pods = try await client.call(.get, "/api/v1/pods")
        let nodes = try await client.call(.get, "/api/v1/nodes")
        guard pods.isSuccess, nodes.isSuccess else {
            throw CommandError("Error from server: \(pods.isSuccess ? nodes.message : pods.message)")
        }
        var traffic = ChangeTraffic(answer: answer.json, nodeOfPod: [:], zoneOfNode: [:])
        for pod in (pods.json["items"]?.array ?? []).map({ KubernetesObject(json: $0) }) {
            traffic.nodeOfPod["\(pod.namespace)/\(pod.name)"] = pod.spec["nodeName"]?.string
        }
        for node in (nodes.json["items"]?.array ?? []).map({ KubernetesObject(json: $0) }) {
            traffic.zoneOfNode[node.name] = node.metadata.labels["topology.kubernetes.io/zone"]
        }
        return traffic
    }

    private func number(_ json: JSON, _ name: String) -> Int { json[name]?.int ?? 0 }
    private var proxies: [JSON] { answer["proxies"]?.array ?? [] }

    /// By node, in the order of their names.
    var nodes: [Node] {
        var found: [String: Node] = [:]
        for proxy in proxies {
            let name = nodeOfPod["\(proxy["namespace"]?.string ?? "")/\(proxy["pod"]?.string ?? "")"] ?? "-"
            var node = found[name] ?? Node(name: name, zone: zoneOfNode[name] ?? "")
            node.proxies += 1
            node.messages += number(proxy, "messages")
            node.bytes += number(proxy, "bytes")
            found[name] = node
        }
        return found.values.sorted { $0.name < $1.name }
    }

    /// Messages and bytes to all proxies.
    var total: (messages: Int, bytes: Int) {
        proxies.reduce((0, 0)) { ($0.0 + number($1, "messages"), $0.1 + number($1, "bytes")) }
    }

    /// For `-o json`.
    var json: JSON {
        var json = answer
        json["messages"] = .integer(Int64(total.messages))
        json["bytes"] = .integer(Int64(total.bytes))
        json["nodes"] = .array(
            nodes.map {
                [
                    "name": .string($0.name), "zone": .string($0.zone), "proxies": .integer(Int64($0.proxies)),
                    "messages": .integer(Int64($0.messages)), "bytes": .integer(Int64($0.bytes)),
                ]
            })
        return json
    }

    /// For people.
    var text: String {
        let connected = number(answer, "connected")
        guard !proxies.isEmpty else {
            return "The control plane would send nothing: none of its \(connected) proxies uses what changes.\n"
        }
        var text = "\(total.messages) messages of \(total.bytes) bytes, to \(proxies.count) of \(connected) proxies\n\n"
        text +=
            TextTable(
                header: ["NODE", "ZONE", "PROXIES", "MESSAGES", "BYTES"],
                rows: nodes.map {
                    [$0.name, $0.zone.isEmpty ? "-" : $0.zone, "\($0.proxies)", "\($0.messages)", "\($0.bytes)"]
                }
            ).text
        let causes = answer["causes"]?.array ?? []
        if !causes.isEmpty {
            let rows = causes.map { cause in
                let name = "\(cause["kind"]?.string ?? "")/\(cause["name"]?.string ?? "")"
                return [
                    name.count > 40 ? name.prefix(39) + "…" : name, "\(number(cause, "proxies"))",
                    "\(number(cause, "messages"))", "\(number(cause, "bytes"))",
                ]
            }
            text += "\n" + TextTable(header: ["CAUSE, ALONE", "PROXIES", "MESSAGES", "BYTES"], rows: rows).text
        }
        var types: [String: (messages: Int, bytes: Int)] = [:]
        for proxy in proxies {
            for (type, traffic) in proxy["types"]?.object ?? [:] {
                let sum = types[type] ?? (0, 0)
                types[type] = (sum.messages + number(traffic, "messages"), sum.bytes + number(traffic, "bytes"))
            }
        }
        let rows = types.sorted { $0.key < $1.key }.map { [$0.key, "\($0.value.messages)", "\($0.value.bytes)"] }
        text += "\n" + TextTable(header: ["TYPE", "MESSAGES", "BYTES"], rows: rows).text
        let unsettled = number(answer, "unsettled")
        if unsettled > 0 { text += "\n\(unsettled) proxies have not acknowledged everything: they may be sent more.\n" }
        return text
    }
}
