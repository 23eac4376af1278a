import KubernetesAPI
import Serialization

// The columns of what pods and machines use, as metrics-server has them.
extension TableColumn {
    static let measured: [TableColumn] = [
        name, text("cpu") { amount($0, "cpu") }, text("memory") { amount($0, "memory") },
        text("Window") { $0.json["window"]?.string ?? "" },
    ]

    /// The sum over the containers of a pod, or what a machine uses.
    private static func amount(_ object: KubernetesObject, _ name: String) -> String {
        if let own = object.json["usage"]?[name]?.string { return own }
        let unit = name == "cpu" ? "n" : "Ki"
        let sum = (object.json["containers"]?.array ?? []).reduce(Int64(0)) { sum, container in
            let text = container["usage"]?[name]?.string ?? ""
            return sum.addingReportingOverflow(Int64(text.dropLast(unit.count)) ?? 0).partialValue
        }
        return "\(sum)\(unit)"
    }
}
