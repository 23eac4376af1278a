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
    /// A server of one protocol, with what it needs, that takes the commands of a transcript.
    private struct Stream {
        var server: DiscoveryServer
        var changes = SnapshotChanges()
        var maker = ResponseMaker(isSharing: false)

        init(_ form: ResponseMaker.Form) { server = DiscoveryServer(form) }

        /// A resource's body is its name and version.
        private static func snapshot(_ words: [String]) -> Snapshot {
            var words = words
            var snapshot = Snapshot(version: words.removeFirst())
            for part in words {
                let sides = part.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
                let typeURL = shortTypes[String(sides[0])] ?? ""
                var resources: [String: EncodedResource] = [:]
                for entry in sides[1].split(separator: ",") {
                    let (name, version) = pair(entry)
                    let message = AnyMessage(typeURL: typeURL, value: Array(entry.utf8))
                    resources[name] = EncodedResource(name: name, version: version, message: message)
                }
                snapshot[typeURL] = [ResourceTable(resources)]
            }
            return snapshot
        }

        private func text(_ message: DiscoveryMessage) throws -> String {
            var words: [String]
            switch server.form {
            case .delta:
                let response = try DeltaDiscoveryResponse(serialized: message.bytes)
                #expect(response.typeUrl == message.typeURL && response.nonce == message.nonce)
                #expect(response.resources.allSatisfy { $0.resource?.typeURL == message.typeURL })
                words = response.resources.map { "\($0.name)@\($0.version)" }
                words += response.removedResources.map { "-\($0)" }
            case .stateOfTheWorld:
                let response = try DiscoveryResponse(serialized: message.bytes)
                #expect(response.typeUrl == message.typeURL && response.nonce == message.nonce)
                words = response.resources.map { String(decoding: $0.value, as: UTF8.self) }
            }
            return (["\(short(message.typeURL)) nonce=\(message.nonce):"] + words).joined(separator: " ")
        }

        mutating func run(_ line: String) throws -> [String] {
            var words = words(line)
            let command = words.removeFirst()
            switch command {
            case "new":
                self = Stream(server.form)
                return []
            case "snapshot":
                return try server.publish(Self.snapshot(words), &changes, &maker).map(text)
            case "acknowledged":
                return [server.acknowledged(typeURL: shortTypes[words[0]] ?? "", name: words[1]) ?? "nothing"]
            case "generation": return ["\(server.acknowledgedGeneration)"]
            case "settled": return ["\(server.isSettled)"]
            case "rejection": return [server.rejection(typeURL: shortTypes[words[0]] ?? "") ?? "none"]
            case "refused":
                let refused = server.refused(typeURL: shortTypes[words[0]] ?? "")
                return refused.sorted { $0.key < $1.key }.map {
                    "\($0.key)@\($0.value.version) has \($0.value.lastGoodVersion ?? "nothing"): \($0.value.message)"
                }
            case "request", "ack", "nack":
                let typeURL = shortTypes[words.removeFirst()] ?? ""
                let nonce = command == "request" ? "" : words.removeFirst()
                var error: Status?
                if command == "nack" {
                    var status = Status()
                    let names = words.filter { server.form == .stateOfTheWorld && $0.hasPrefix("=") }
                    status.message = words.filter { !names.contains($0) }.joined(separator: " ")
                    words = names.map { String($0.dropFirst()) }
                    error = status
                }
                do {
                    return try request(typeURL, nonce, error, words).map(text)
                } catch let violation as ProtocolViolation {
                    return ["violation: \(violation)"]
                }
            default: return ["unknown command"]
            }
        }

        private mutating func request(
            _ typeURL: String, _ nonce: String, _ error: Status?, _ words: [String]
        ) throws -> [DiscoveryMessage] {
            guard server.form == .delta else {
                var request = DiscoveryRequest()
                request.typeUrl = typeURL
                request.responseNonce = nonce
                request.errorDetail = error
                request.resourceNames = words.filter { !$0.hasPrefix("agent:") }
                request.node = node(words)
                return try server.received(request, &maker)
            }
            var request = DeltaDiscoveryRequest()
            request.typeUrl = typeURL
            request.responseNonce = nonce
            request.errorDetail = error
            request.node = node(words)
            for word in words {
                if word.hasPrefix("+") { request.resourceNamesSubscribe.append(String(word.dropFirst())) }
                if word.hasPrefix("-") { request.resourceNamesUnsubscribe.append(String(word.dropFirst())) }
                if word.hasPrefix("has:") {
                    let (name, version) = pair(word.dropFirst(4))
                    request.initialResourceVersions[name] = version
                }
            }
            return try server.received(request, &maker)
        }

        private func node(_ words: [String]) -> Node? {
            var node: Node?
            for word in words {
                if word.hasPrefix("node:") { node = node ?? Node(); node?.id = String(word.dropFirst(5)) }
                if word.hasPrefix("agent:") { node = node ?? Node(); node?.userAgentName = String(word.dropFirst(6)) }
            }
            return node
        }
    }

    @Test("the delta server says what its transcripts say", arguments: ["server", "order", "refusals"])
    func server(name: String) throws {
        var stream = Stream(.delta)
        try Transcript(name).check { try stream.run($0) }
    }

    @Test("the state-of-the-world server says what its transcripts say", arguments: ["world", "world-refusals"])
    func world(name: String) throws {
        var stream = Stream(.stateOfTheWorld)
        try Transcript(name).check { try stream.run($0) }
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
