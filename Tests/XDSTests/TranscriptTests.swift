import EnvoyAPI
import Serialization
import Testing
import XDS

private let shortTypes = [
    "cds": Cluster.typeURL, "eds": ClusterLoadAssignment.typeURL, "lds": Listener.typeURL,
    "rds": RouteConfiguration.typeURL,
]

private func short(_ typeURL: String) -> String { shortTypes.first { $0.value == typeURL }?.key ?? typeURL }

private func words(_ line: String) -> [String] { line.split(separator: " ").map(String.init) }

private func pair(_ word: Substring) -> (String, String) {
    let parts = word.split(separator: "@").map(String.init)
    return (parts.first ?? "", parts.count > 1 ? parts[1] : "")
}

@Suite("Discovery transcripts")
struct TranscriptTests {
    @Test("the delta server says what its transcripts say", arguments: ["server", "order"])
    func server(name: String) throws {
        var server = DeltaServer()
        try Transcript(name).check { line in
            var words = words(line)
            switch words.removeFirst() {
            case "new":
                server = DeltaServer()
                return []
            case "snapshot":
                var snapshot = Snapshot(version: words.removeFirst())
                for part in words {
                    let sides = part.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
                    let typeURL = shortTypes[String(sides[0])] ?? ""
                    for entry in sides[1].split(separator: ",") {
                        let (name, version) = pair(entry)
                        snapshot[typeURL][name] = SnapshotResource(
                            version: version, message: AnyMessage(typeURL: typeURL, value: []))
                    }
                }
                return server.publish(snapshot).map(Self.text)
            case "acknowledged":
                let typeURL = shortTypes[words[0]] ?? ""
                return [server.acknowledged(typeURL: typeURL, name: words[1]) ?? "nothing"]
            case "settled": return ["\(server.isSettled)"]
            case "rejection": return [server.rejection(typeURL: shortTypes[words[0]] ?? "") ?? "none"]
            case "request", "ack", "nack":
                var request = DeltaDiscoveryRequest()
                request.typeUrl = shortTypes[words.removeFirst()] ?? ""
                if line.hasPrefix("ack") || line.hasPrefix("nack") { request.responseNonce = words.removeFirst() }
                if line.hasPrefix("nack") {
                    request.errorDetail = Status()
                    request.errorDetail?.message = words.joined(separator: " ")
                    words = []
                }
                for word in words {
                    if word.hasPrefix("+") { request.resourceNamesSubscribe.append(String(word.dropFirst())) }
                    if word.hasPrefix("-") { request.resourceNamesUnsubscribe.append(String(word.dropFirst())) }
                    if word.hasPrefix("has:") {
                        let (name, version) = pair(word.dropFirst(4))
                        request.initialResourceVersions[name] = version
                    }
                    if word.hasPrefix("node:") {
                        request.node = Node()
                        request.node?.id = String(word.dropFirst(5))
                    }
                }
                do {
                    return try server.received(request).map(Self.text)
                } catch {
                    return ["violation: \(error)"]
                }
            default: return ["unknown command"]
            }
        }
    }

    private static func text(_ response: DeltaDiscoveryResponse) -> String {
        var words = response.resources.map { "\($0.name)@\($0.version)" }
        words += response.removedResources.map { "-\($0)" }
        return (["\(short(response.typeUrl)) nonce=\(response.nonce):"] + words).joined(separator: " ")
    }

    @Test("the state-of-the-world server says what its transcript says")
    func world() throws {
        var server = StateOfTheWorldServer()
        func text(_ response: DiscoveryResponse) -> String {
            // Here a resource's bytes are its name and version.
            let names = response.resources.map { String(decoding: $0.value, as: UTF8.self) }
            return (["\(short(response.typeUrl)) nonce=\(response.nonce):"] + names).joined(separator: " ")
        }
        try Transcript("world").check { line in
            var words = words(line)
            switch words.removeFirst() {
            case "snapshot":
                var snapshot = Snapshot(version: words.removeFirst())
                for part in words {
                    let sides = part.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
                    let typeURL = shortTypes[String(sides[0])] ?? ""
                    for entry in sides[1].split(separator: ",") {
                        let (name, version) = pair(entry)
                        snapshot[typeURL][name] = SnapshotResource(
                            version: version, message: AnyMessage(typeURL: typeURL, value: Array(entry.utf8)))
                    }
                }
                return server.publish(snapshot).map(text)
            case "acknowledged":
                return [server.acknowledged(typeURL: shortTypes[words[0]] ?? "", name: words[1]) ?? "nothing"]
            case "rejection": return [server.rejection(typeURL: shortTypes[words[0]] ?? "") ?? "none"]
            case "request", "ack", "nack":
                var request = DiscoveryRequest()
                request.typeUrl = shortTypes[words.removeFirst()] ?? ""
                if !line.hasPrefix("request") { request.responseNonce = words.removeFirst() }
                if line.hasPrefix("nack") {
                    request.errorDetail = Status()
                    request.errorDetail?.message = words.joined(separator: " ")
                } else {
                    request.resourceNames = words
                }
                return try server.received(request).map(text)
            default: return ["unknown command"]
            }
        }
    }

    @Test("the delta client says what its transcript says")
    func client() throws {
        var node = Node()
        node.id = "n"
        var client = DeltaClient(node: node)
        var updates: [String: DeltaClient.Update] = [:]
        try Transcript("client").check { line in
            var words = words(line)
            switch words.removeFirst() {
            case "connect": return client.connected().map(Self.text)
            case "disconnect":
                client.disconnected()
                return []
            case "want":
                let typeURL = shortTypes[words.removeFirst()] ?? ""
                let names = Set(words).subtracting(["*"])
                let interest: DeltaClient.Interest =
                    words.contains("*") ? DeltaClient.Interest.all.union(.names(names)) : .names(names)
                return client.subscribe(typeURL, to: interest).map(Self.text)
            case "response":
                var response = DeltaDiscoveryResponse()
                response.typeUrl = shortTypes[words.removeFirst()] ?? "other"
                response.nonce = words.removeFirst()
                for word in words {
                    if word.hasPrefix("-") {
                        response.removedResources.append(String(word.dropFirst()))
                        continue
                    }
                    var resource = Resource()
                    (resource.name, resource.version) = pair(word[...])
                    let wrong = resource.version == "wrong"
                    resource.resource = AnyMessage(typeURL: wrong ? "x/y" : response.typeUrl, value: [])
                    response.resources.append(resource)
                }
                let (update, requests) = client.received(response)
                guard let update else { return requests.map(Self.text) }
                updates[update.nonce] = update
                let names = update.resources.map(\.name) + update.removed.map { "-\($0)" }
                return ["update \(short(update.typeURL)): \(names.joined(separator: " "))"] + requests.map(Self.text)
            case "accept":
                return try client.accept(#require(updates[words[0]])).map(Self.text)
            case "reject":
                let update = try #require(updates[words.removeFirst()])
                let applied = words.filter { $0.hasPrefix("=") }.map { String($0.dropFirst()) }
                return client.reject(update, because: "no", applied: applied).map(Self.text)
            case "versions":
                let versions = client.versions(typeURL: shortTypes[words[0]] ?? "")
                return [versions.map { "\($0.key)@\($0.value)" }.sorted().joined(separator: " ")]
            default: return ["unknown command"]
            }
        }
    }

    private static func text(_ request: DeltaDiscoveryRequest) -> String {
        var words = [short(request.typeUrl)]
        if let node = request.node { words.append("node:\(node.id)") }
        words += request.resourceNamesSubscribe.map { "+\($0)" }
        words += request.resourceNamesUnsubscribe.map { "-\($0)" }
        words += request.initialResourceVersions.sorted { $0.key < $1.key }.map { "has:\($0.key)@\($0.value)" }
        if !request.responseNonce.isEmpty { words.append("nonce=\(request.responseNonce)") }
        if let error = request.errorDetail { words.append("error: \(error.message)") }
        return words.joined(separator: " ")
    }
}
