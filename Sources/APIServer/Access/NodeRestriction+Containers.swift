import KubernetesAPI
import Serialization

// What a node may say of the containers that runtimes put on it beside Kubernetes.
extension APIRouter {
    /// Whether a change of a WorkloadEntry is about a container of this node, and says of it no more than name and address.
    ///
    /// No service account: who a container is, a node does not decide.
    func isOwnContainer(_ request: APIRequest, _ target: Target, _ node: String) throws(StatusError) -> Bool {
        guard !node.isEmpty, target.namespace == MachineContainer.namespace, target.subresource.isEmpty else {
            return false
        }
        switch request.method {
        case "POST": return Self.isContainer(try RequestBody.json(request), node, name: nil)
        case "PATCH", "DELETE":
            guard let name = target.name,
                let known = try? registry.get(.workloadEntry, MachineContainer.namespace, name),
                known.metadata.labels[MachineContainer.nodeLabel] == node
            else { return false }
            guard request.method == "PATCH" else { return true }
            var duplicates: [String] = []
            // What operations and directives would come to is not known before they are applied.
            guard case .merge(let body) = try RequestBody.patch(request, target.kind, duplicates: &duplicates) else {
                return false
            }
            return Self.isContainer(body, node, name: name)
        default: return false
        }
    }

    /// Whether it is an entry as the node's agent writes them.
    private static func isContainer(_ body: JSON, _ node: String, name: String?) -> Bool {
        guard let members = body.object, Set(members.keys).isSubset(of: ["apiVersion", "kind", "metadata", "spec"]),
            let metadata = body["metadata"]?.object,
            Set(metadata.keys).isSubset(of: ["name", "namespace", "labels", "annotations"]),
            let own = metadata["name"]?.string, own.hasPrefix(MachineContainer.namePrefix), name == nil || own == name,
            let container = metadata["labels"]?[MachineContainer.containerLabel]?.string,
            metadata["labels"]
                == .object([
                    MachineContainer.containerLabel: .string(container), MachineContainer.nodeLabel: .string(node),
                ]),
            Set((metadata["annotations"]?.object ?? [:]).keys).isSubset(of: [MachineContainer.linkAnnotation]),
            let spec = body["spec"]?.object, Set(spec.keys) == ["address", "labels"], spec["address"]?.string != nil
        else { return false }
        return spec["labels"] == .object([MachineContainer.containerLabel: .string(container)])
    }
}
