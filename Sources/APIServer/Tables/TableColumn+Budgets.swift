import KubernetesAPI
import Serialization

// The columns of what limits and plans pods, as kubectl's users know them.
extension TableColumn {
    static let cronJobs: [TableColumn] =
        [
            name, text("Schedule") { $0.spec["schedule"]?.string ?? "" },
            text("Timezone") { shown($0.spec["timeZone"]?.string ?? "") },
            text("Suspend") { $0.spec["suspend"] == true ? "True" : "False" },
            number("Active") { $0.status["active"]?.array?.count ?? 0 },
            TableColumn("Last Schedule") { object, now in
                guard let time = object.status["lastScheduleTime"]?.string else { return "<none>" }
                return .string(Age.since(time, now))
            }, age,
        ]
        + [
            text("Containers", wide: true) { pod($0).containers.map(\.name).joined(separator: ",") },
            text("Images", wide: true) { pod($0).containers.map(\.image).joined(separator: ",") },
            text("Selector", wide: true) { object in
                let selector = object.spec["jobTemplate"]?["spec"]?["selector"]
                return selector == nil ? "<none>" : selectorText(LabelSelector(json: selector ?? .null))
            },
        ]

    private static func pod(_ object: KubernetesObject) -> PodSpec {
        PodSpec(json: object.spec["jobTemplate"]?["spec"]?["template"]?["spec"] ?? .object([:]))
    }

    static let disruptionBudgets: [TableColumn] = [
        name, text("Min Available") { bound($0, "minAvailable") },
        text("Max Unavailable") { bound($0, "maxUnavailable") },
        number("Allowed Disruptions") { $0.status["disruptionsAllowed"]?.int ?? 0 }, age,
    ]

    private static func bound(_ object: KubernetesObject, _ name: String) -> String {
        object.spec[name].map { $0.string ?? $0.text } ?? "N/A"
    }

    static let priorityClasses: [TableColumn] = [
        name, number("Value") { $0.json["value"]?.int ?? 0 },
        TableColumn("Global-Default", type: "boolean") { object, _ in .bool(object.json["globalDefault"]?.bool ?? false)
        },
        age, text("PreemptionPolicy") { $0.json["preemptionPolicy"]?.string ?? "" },
    ]

    static let resourceQuotas: [TableColumn] = [
        name, text("Request") { uses($0) { !$0.hasPrefix("limits") } },
        text("Limit") { uses($0) { $0.hasPrefix("limits") } },
        age,
    ]

    /// `pods: 1/4, requests.cpu: 100m/1`.
    private static func uses(_ object: KubernetesObject, _ isMeant: (String) -> Bool) -> String {
        let hard = object.status["hard"]?.object ?? [:]
        return hard.keys.filter(isMeant).sorted().map { name in
            let used = object.status["used"]?[name].map { $0.string ?? $0.text } ?? "0"
            return "\(name): \(used)/\(hard[name].map { $0.string ?? $0.text } ?? "")"
        }.joined(separator: ", ")
    }

    static let limitRanges: [TableColumn] = [
        name,
        TableColumn("Created At", type: "date") { object, _ in .string(object.metadata.creationTimestamp) },
    ]
}
