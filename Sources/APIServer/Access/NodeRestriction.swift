import KubernetesAPI
import Serialization

// What a node may write: its own object and heartbeat, the pods that are bound to it, and its containers; what of others' Secrets and
// ConfigMaps it may read: those that its pods use. Its role says the kinds, this the names.
extension APIRouter {
    /// The group of all nodes.
    static let nodes = "system:nodes"

    /// Refuses what a node writes about others.
    func restrict(_ user: APIUser, _ request: APIRequest, _ target: Target) throws(StatusError) {
        guard user.groups.contains(Self.nodes), !user.isMaster else { return }
        let node = user.name.hasPrefix("system:node:") ? String(user.name.dropFirst("system:node:".count)) : ""
        let name = target.name ?? ""
        func refuse(_ why: String) -> StatusError {
            .forbidden(target.kind, name, "node \"\(node)\" \(why)")
        }
        guard !["GET", "HEAD"].contains(request.method) else {
            guard target.kind != .secret && target.kind != .configMap || isReferred(request, target, node) else {
                throw .forbidden(
                    target.kind, name,
                    "no relationship found between node '\(node)' and this object: a node reads by name what its own pods use"
                )
            }
            return
        }
        switch target.kind {
        case .node:
            guard !node.isEmpty, name == node else { throw refuse("may change its own object only") }
            guard target.subresource == "status" || request.method == "PATCH" else {
                throw refuse("may not replace or delete its object")
            }
            guard try !isForeign(request, target) else { throw refuse("may not change its key or its addresses") }
        case .pod:
            guard let pod = try? registry.get(.pod, target.namespace ?? "", name),
                pod.spec["nodeName"]?.string == node, !node.isEmpty
            else { throw refuse("may change pods that are bound to it only") }
            guard target.subresource == "status" || request.method == "DELETE" else {
                throw refuse("may change the status of a pod only")
            }
        case .lease:
            let body = target.name == nil ? try RequestBody.json(request)["metadata"]?["name"]?.string ?? "" : name
            guard target.namespace == "kube-node-lease", !node.isEmpty, body == node else {
                throw refuse("may change its own lease only")
            }
        case .persistentVolume:
            // It has removed the directory of a volume that is its own, and says so: nothing else.
            let labels = [LocalStorage.nodeLabel: node]
            guard !node.isEmpty, let volume = try? registry.get(.persistentVolume, "", name),
                volume.spec["nodeAffinity"] != nil,
                PersistentVolumeSpec(json: volume.spec).isReachable(fromNodeWith: labels)
            else { throw refuse("may change volumes that it keeps only") }
            var duplicates: [String] = []
            guard request.method == "PATCH", target.subresource.isEmpty,
                case .merge(let body) = try RequestBody.patch(request, target.kind, duplicates: &duplicates),
                body == ["metadata": ["annotations": .object([LocalStorage.reclaimedAnnotation: "true"])]]
            else { throw refuse("may say of a volume only that it is removed") }
        case .workloadEntry:
            guard try isOwnContainer(request, target, node) else {
                throw refuse("may name and place the containers that are on it, and say no more of them")
            }
        case .event: break
        default: throw refuse("may not change \(target.kind.plural)")
        }
    }

    /// Whether a node asks for one object by its name, and a pod that is bound to the node uses it.
    private func isReferred(_ request: APIRequest, _ target: Target, _ node: String) -> Bool {
        guard !node.isEmpty, let namespace = target.namespace else { return false }
        let named =
            target.name
            ?? (try? Selection(request.query, target.kind))?.fields.first { $0.path == "metadata.name" && $0.isEqual }?
            .value
        guard let named, !named.isEmpty else { return false }
        let wanted = PodReference(target.kind, named)
        return registry.list(.pod, namespace: namespace).contains { pod in
            pod.spec["nodeName"]?.string == node && PodSpec(json: pod.spec).references.contains(wanted)
        }
    }

    /// Whether a node's change of its own object touches what others say of it: who it is, and which addresses its pods have.
    private func isForeign(_ request: APIRequest, _ target: Target) throws(StatusError) -> Bool {
        let body: JSON
        if request.method == "PATCH" {
            // What operations and directives would come to is not known before they are applied.
            var duplicates: [String] = []
            guard case .merge(let merge) = try RequestBody.patch(request, target.kind, duplicates: &duplicates) else {
                return true
            }
            body = merge
        } else {
            body = try RequestBody.json(request)
        }
        guard body.object != nil else { return true }
        if request.method == "PUT" {
            // A whole object, of which the status counts, and the annotations.
            let known = try registry.get(.node, "", target.name ?? "").metadata.annotations[Node.keyAnnotation]
            return body["metadata"]?["annotations"]?[Node.keyAnnotation]?.string != known
        }
        if body["spec"] != nil { return true }
        guard let metadata = body["metadata"] else { return false }
        guard metadata.object != nil else { return true }
        guard let annotations = metadata["annotations"] else { return false }
        return annotations.object == nil || annotations[Node.keyAnnotation] != nil
    }
}
