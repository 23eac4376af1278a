internal import HTTP
internal import KubernetesAPI
internal import Serialization

/// Brings objects of files into the store, and takes them out again.
struct Applier: Sendable {
    static let lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

    let client: KubernetesClient
    /// Takes one line for each object.
    let report: @Sendable (String) -> Void
    /// Takes the server's warnings.
    let warn: @Sendable (String) -> Void

    /// Creates or changes each object, in order.
    ///
    /// Stops at the first that the server refuses.
    /// Returns the newest revision of the store that one of them has.
    @discardableResult
    func apply(_ manifests: [Manifest]) async throws(CommandError) -> Int64 {
        var newest: Int64 = 0
        for manifest in manifests { newest = max(newest, try await apply(manifest)) }
        return newest
    }

    private static func revision(_ json: JSON) -> Int64 {
        json["metadata"]?["resourceVersion"]?.string.flatMap { Int64($0) } ?? 0
    }

    private func apply(_ manifest: Manifest) async throws(CommandError) -> Int64 {
        let (kind, object) = (manifest.kind, manifest.object)
        let path = kind.path(namespace: object.namespace, name: object.name, version: manifest.version)
        let query = [("fieldManager", "skein-apply"), ("fieldValidation", "Strict")]
        var wanted = object.json
        let configuration = wanted.text
        var metadata = wanted["metadata"] ?? .object([:])
        var annotations = metadata["annotations"] ?? .object([:])
        annotations[Self.lastApplied] = .string(configuration)
        // For explanations, which name the line: where it was read from.
        if let file = manifest.file { annotations[ObjectFiles.annotation] = .string(file) }
        metadata["annotations"] = annotations
        wanted["metadata"] = metadata

        let live = try await client.call(.get, path)
        let answer: Answer
        let verb: String
        if live.status == 404 {
            let collection = kind.path(namespace: object.namespace, version: manifest.version)
            answer = try await client.call(.post, collection, query: query, body: wanted)
            verb = "created"
        } else if live.isSuccess {
            let annotations = live.json["metadata"]?["annotations"]
            let text = annotations?[Self.lastApplied]?.string
            let isElsewhere = manifest.file.map { $0 != annotations?[ObjectFiles.annotation]?.string } ?? false
            let last = text.flatMap { try? JSON.parse($0) }
            guard text != configuration || isElsewhere,
                let patch = Self.patch(live: live.json, last: last, wanted: wanted)
            else {
                report("\(manifest.label) unchanged")
                return Self.revision(live.json)
            }
            answer = try await client.call(
                .patch, path, query: query, body: patch, contentType: "application/merge-patch+json")
            verb = "configured"
        } else {
            answer = live
            verb = ""
        }
        guard answer.isSuccess else { throw CommandError("\(manifest.place): \(manifest.label): \(answer.message)") }
        for warning in answer.warnings { warn(warning) }
        report("\(manifest.label) \(verb)")
        return Self.revision(answer.json)
    }

    /// The JSON merge patch (RFC 7396) that takes `live` to what is wanted: what was in the file last time and is no
    /// more goes, what nobody wrote in the file stays.
    ///
    /// Lists are replaced whole, unless the file has not changed them.
    static func patch(live: JSON, last: JSON?, wanted: JSON) -> JSON? {
        guard case .object(let wantedMembers) = wanted else { return wanted == live ? nil : wanted }
        var members: [String: JSON] = [:]
        for (name, value) in wantedMembers {
            let (current, before) = (live[name], last?[name])
            if current == value { continue }
            if case .object = value, case .object? = current {
                if let inner = patch(live: current ?? .null, last: before, wanted: value) { members[name] = inner }
            } else if case .array = value, current != nil, before == value {
                continue  // Only defaults make the difference.
            } else {
                members[name] = value
            }
        }
        for (name, _) in last?.object ?? [:] where wantedMembers[name] == nil && live[name] != nil {
            members[name] = .null
        }
        return members.isEmpty ? nil : .object(members)
    }

    /// Deletes each object, the last first.
    ///
    /// What is not there is no failure when `ignoreNotFound`.
    func delete(_ manifests: [Manifest], ignoreNotFound: Bool) async throws(CommandError) {
        var missing: CommandError?
        for manifest in manifests.reversed() {
            let path = manifest.kind.path(namespace: manifest.object.namespace, name: manifest.object.name)
            let answer = try await client.call(.delete, path, body: ["propagationPolicy": "Background"])
            if answer.status == 404, ignoreNotFound { continue }
            guard answer.isSuccess else {
                missing = CommandError("\(manifest.place): \(manifest.label): \(answer.message)")
                continue
            }
            report("\(manifest.label) deleted")
        }
        if let missing { throw missing }
    }
}
