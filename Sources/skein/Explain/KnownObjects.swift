internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Mesh
internal import Serialization

/// The objects of the API, read once; without the API the pods that the node agent has written down.
struct KnownObjects: Sendable {
    private(set) var byKind: [String: [NamespacedName: KubernetesObject]] = [:]
    /// Why the API was not asked; nil: it was.
    private(set) var problem: String?

    private static func key(_ object: KubernetesObject) -> NamespacedName {
        NamespacedName(namespace: object.namespace, name: object.name)
    }

    /// All kinds that the mesh is made of, and those that own pods.
    static func load(
        _ client: KubernetesClient, dataDirectory: String, withSecrets: Bool = false,
        also: [(String, String)] = []
    ) async throws(CommandError) -> KnownObjects {
        var known = KnownObjects()
        let wanted =
            MeshObjects.Kind.allCases.filter { withSecrets || $0 != .secret }.map { ($0.group, $0.name) } + [
                ("apps", "Deployment")
            ] + also
        do throws(CommandError) {
            try await client.probe()
            for (group, name) in wanted {
                guard let kind = ResourceKinds.standard.all.first(where: { $0.group == group && $0.kind == name })
                else {
                    continue
                }
                let answer = try await client.call(.get, kind.path(namespace: nil))
                guard answer.isSuccess else { throw CommandError("Error from server: \(answer.message)") }
                let version = answer.json["apiVersion"] ?? .string("")
                for item in answer.json["items"]?.array ?? [] {
                    var item = item
                    // Items of a list leave out what the list says.
                    if item["kind"] == nil { item["kind"] = .string(name) }
                    if item["apiVersion"] == nil { item["apiVersion"] = version }
                    known.add(KubernetesObject(json: item))
                }
            }
        } catch {
            known = KnownObjects()
            known.problem = error.message
            known.readJournals(dataDirectory + "/node/pods")
        }
        return known
    }

    mutating func add(_ object: KubernetesObject) {
        byKind[object.kind, default: [:]][Self.key(object)] = object
    }

    /// What the node agent goes on with: one directory for each pod.
    private mutating func readJournals(_ directory: String) {
        for uid in (try? File.list(directory)) ?? [] {
            guard let text = try? File.text("\(directory)/\(uid)/journal.json"), let json = try? JSON.parse(text),
                var object = json["object"]
            else { continue }
            let address = (json["addresses"]?.array ?? []).first ?? .string("")
            object["status"] = ["podIP": address, "phase": "Running"]
            add(KubernetesObject(json: object))
        }
    }

    func object(_ kind: String, _ key: NamespacedName) -> KubernetesObject? { byKind[kind]?[key] }

    /// Objects of a kind in the order of their names.
    func all(_ kind: String) -> [KubernetesObject] {
        (byKind[kind] ?? [:]).sorted { $0.key < $1.key }.map(\.value)
    }

    /// Everything.
    var everything: [KubernetesObject] { byKind.values.flatMap(\.values) }

    // MARK: Workloads

    /// The pod that somebody means: `POD[.NAMESPACE]`, `deployment/NAME`, `serviceaccount/NAME`, `gateway`.
    func pod(_ text: String, namespace: String?) throws(CommandError) -> KubernetesObject {
        let inNamespace = namespace ?? "default"
        let parts = text.split(separator: "/", maxSplits: 1).map(String.init)
        if text == "gateway" || text == "ingress" {
            let found = all("Pod").filter { isGateway($0) && (namespace == nil || $0.namespace == namespace) }
            guard let pod = best(found) else {
                throw CommandError("there is no gateway" + (namespace.map { " in namespace \($0)" } ?? ""))
            }
            return pod
        }
        if parts.count == 2, ["deployment", "deploy", "deployments"].contains(parts[0]) {
            return try pod(ofDeployment: parts[1], inNamespace)
        }
        if parts.count == 2, ["serviceaccount", "sa", "serviceaccounts"].contains(parts[0]) {
            return try pod(ofAccount: parts[1], inNamespace)
        }
        let name = PodName(parts.first == "pod" && parts.count == 2 ? parts[1] : text, namespace: namespace)
        if let pod = object("Pod", NamespacedName(namespace: name.namespace, name: name.pod)) { return pod }
        if let found = try? pod(ofDeployment: name.pod, name.namespace) { return found }
        throw CommandError(
            "there is no pod or deployment \(name)" + (problem == nil ? "" : " among those that the node agent knows"))
    }

    private func pod(ofDeployment name: String, _ namespace: String) throws(CommandError) -> KubernetesObject {
        var found: [KubernetesObject]
        if let deployment = object("Deployment", NamespacedName(namespace: namespace, name: name)) {
            let labels = (deployment.spec["selector"]?["matchLabels"]?.object ?? [:]).compactMapValues(\.string)
            found = all("Pod").filter { pod in
                pod.namespace == namespace && labels.allSatisfy { pod.metadata.labels[$0.key] == $0.value }
            }
        } else {
            // Without the API: its pods are called after it.
            found = all("Pod").filter { pod in
                pod.namespace == namespace && pod.name.hasPrefix(name + "-")
                    && pod.name.dropFirst(name.count + 1).split(separator: "-").count == 2
            }
        }
        found = found.filter { $0.metadata.json["deletionTimestamp"] == nil }
        guard let pod = best(found) else { throw CommandError("deployment \(namespace)/\(name) has no pod") }
        return pod
    }

    private func pod(ofAccount name: String, _ namespace: String) throws(CommandError) -> KubernetesObject {
        let found = all("Pod").filter {
            $0.namespace == namespace && ($0.spec["serviceAccountName"]?.string ?? "default") == name
        }
        guard let pod = best(found) else { throw CommandError("no pod runs as service account \(namespace)/\(name)") }
        return pod
    }

    /// One that runs, if there is one.
    private func best(_ pods: [KubernetesObject]) -> KubernetesObject? {
        pods.first { $0.status["phase"]?.string == "Running" && $0.status["podIP"] != nil } ?? pods.first
    }

    /// The pod with an address.
    func pod(at address: String) -> KubernetesObject? {
        all("Pod").first { pod in
            pod.status["podIP"]?.string == address
                || (pod.status["podIPs"]?.array ?? []).contains { $0["ip"]?.string == address }
        }
    }

    func isGateway(_ pod: KubernetesObject) -> Bool { pod.metadata.annotations["skein.dev/gateway"] == "true" }

    func workload(_ pod: KubernetesObject, runDirectory: String) -> MeshExplanation.Workload {
        MeshExplanation.Workload(
            pod: Self.key(pod), address: pod.status["podIP"]?.string ?? "",
            account: "\(pod.namespace)/\(pod.spec["serviceAccountName"]?.string ?? "default")",
            hasProxy: File.isDirectory("\(runDirectory)/pods/\(pod.metadata.uid)"), isGateway: isGateway(pod))
    }
}
