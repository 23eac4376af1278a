public import KubernetesAPI
public import Serialization

/// Which objects of a list or watch are wanted.
public struct Selection: Sendable {
    /// By labels.
    public var labels: LabelMatcher
    /// By fields: path, value and whether they must be equal.
    public var fields: [(path: String, value: String, isEqual: Bool)] = []

    /// Everything, or what the labels say.
    public init(labels: LabelMatcher = LabelMatcher()) { self.labels = labels }

    /// From the query parameters `labelSelector` and `fieldSelector`.
    init(_ query: [String: String], _ kind: ResourceKind, version: String = "") throws(StatusError) {
        do {
            labels = try LabelMatcher(parsing: query["labelSelector"] ?? "")
        } catch {
            throw .badRequest(error.description)
        }
        for part in (query["fieldSelector"] ?? "").split(separator: ",") {
            let sign = part.contains("!=") ? "!=" : part.contains("==") ? "==" : "="
            guard let range = part.firstRange(of: sign) else {
                throw .badRequest("invalid selector: '\(part)'; can't understand '\(part)'")
            }
            let path = String(part[..<range.lowerBound])
            let stored = ObjectView(kind, version: version)?.storedField(path) ?? path
            guard Selection.supported(kind).contains(stored) else {
                throw .badRequest("field label not supported: \(path)")
            }
            fields.append((stored, String(part[range.upperBound...]), sign != "!="))
        }
    }

    private static func supported(_ kind: ResourceKind) -> [String] {
        let common = ["metadata.name", "metadata.namespace"]
        switch kind {
        case .pod:
            return common + [
                "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
                "spec.hostNetwork",
                "status.phase", "status.podIP", "status.nominatedNodeName",
            ]
        case .event:
            return common
                + ["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"].map {
                    "involvedObject." + $0
                } + ["reason", "reportingComponent", "source", "type"]
        case .secret: return common + ["type"]
        case .namespace: return common + ["status.phase"]
        case .node: return common + ["spec.unschedulable"]
        case .replicaSet, .replicationController: return common + ["status.replicas"]
        case .service: return common + ["spec.clusterIP", "spec.type"]
        default: return common
        }
    }

    /// Whether an object is wanted.
    public func matches(_ object: JSON) -> Bool {
        let metadata = object["metadata"]
        if !labels.requirements.isEmpty, !labels.matches(ObjectMeta(json: metadata ?? .null).labels) { return false }
        return fields.allSatisfy { field in
            let value = field.path.split(separator: ".").reduce(object as JSON?) { $0?[String($1)] }
            let text: String
            switch value {
            case .string(let string): text = string
            case .bool(let flag): text = flag ? "true" : "false"
            case .integer(let number): text = String(number)
            default: text = ""
            }
            return (text == field.value) == field.isEqual
        }
    }
}
