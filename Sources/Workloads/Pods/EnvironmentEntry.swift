internal import Serialization

/// One entry of `env`.
public struct EnvironmentEntry: Sendable, Hashable {
    /// Where the value comes from.
    public enum Source: Sendable, Hashable {
        /// Written there; `$(NAME)` refers to earlier entries.
        case value(String)
        /// A key of a ConfigMap.
        case configMap(name: String, key: String, isOptional: Bool)
        /// A key of a Secret.
        case secret(name: String, key: String, isOptional: Bool)
        /// A field of the pod.
        case field(String)
        /// A limit or request of the container, in units of so many thousandths.
        case resource(String, divisor: Int)
    }

    /// The variable.
    public var name: String
    /// Its value's origin.
    public var source: Source

    init(_ json: JSON, path: String) throws(WorkloadError) {
        name = json["name"]?.string ?? ""
        guard !name.isEmpty, !name.contains("="), !name.contains("\0") else {
            throw .field("\(path).name", "is not a variable's name")
        }
        guard let from = json["valueFrom"], !from.isNull else {
            source = .value(json["value"]?.string ?? "")
            return
        }
        func key(_ reference: JSON) -> (String, String, Bool) {
            (reference["name"]?.string ?? "", reference["key"]?.string ?? "", reference["optional"]?.bool ?? false)
        }
        if let reference = from["configMapKeyRef"] {
            let (name, key, isOptional) = key(reference)
            source = .configMap(name: name, key: key, isOptional: isOptional)
        } else if let reference = from["secretKeyRef"] {
            let (name, key, isOptional) = key(reference)
            source = .secret(name: name, key: key, isOptional: isOptional)
        } else if let field = from["fieldRef"]?["fieldPath"]?.string {
            source = .field(field)
        } else if let reference = from["resourceFieldRef"], let resource = reference["resource"]?.string {
            let divisor = reference["divisor"].map { $0.string ?? $0.text } ?? "0"
            guard let unit = Quantity(divisor) else {
                throw .field("\(path).valueFrom.resourceFieldRef.divisor", "\(divisor) is no amount")
            }
            // None, and 0, are 1, as in Kubernetes.
            source = .resource(resource, divisor: unit.millis == 0 ? 1000 : unit.millis)
        } else {
            throw .field("\(path).valueFrom", "needs configMapKeyRef, secretKeyRef, fieldRef or resourceFieldRef")
        }
    }
}

/// One entry of `envFrom`.
public struct EnvironmentSource: Sendable, Hashable {
    /// Whether it is a Secret; else a ConfigMap.
    public var isSecret: Bool
    /// Name of the object.
    public var name: String
    /// Put before every key.
    public var prefix: String
    /// Whether the object may be missing.
    public var isOptional: Bool

    init(_ json: JSON) {
        isSecret = json["secretRef"] != nil
        let reference = json["secretRef"] ?? json["configMapRef"] ?? [:]
        name = reference["name"]?.string ?? ""
        prefix = json["prefix"]?.string ?? ""
        isOptional = reference["optional"]?.bool ?? false
    }
}
