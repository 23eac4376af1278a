import KubernetesAPI
import Serialization

/// One column of a kind's table.
struct TableColumn: Sendable {
    var name: String
    var type: String
    var format: String
    var description: String
    /// 0 is always shown, 1 with `-o wide`.
    var priority: Int
    var cell: @Sendable (KubernetesObject, Timestamp) -> JSON

    init(
        _ name: String, type: String = "string", format: String = "", wide: Bool = false, _ description: String = "",
        _ cell: @escaping @Sendable (KubernetesObject, Timestamp) -> JSON
    ) {
        self.name = name
        self.type = type
        self.format = format
        self.description = description
        priority = wide ? 1 : 0
        self.cell = cell
    }

    /// The columns of the sub-resource `scale`.
    static let scale: [TableColumn] = [
        name, number("Desired") { $0.spec["replicas"]?.int ?? 0 },
        number("Available") { $0.status["replicas"]?.int ?? 0 }, age,
    ]

    /// The columns of a kind that somebody has defined; without any, name and age.
    static func columns(of definition: CustomDefinition.Version) -> [TableColumn] {
        if definition.columns.isEmpty { return [name, age] }
        return [name]
            + definition.columns.map { column in
                var made = TableColumn(column.name, type: column.type, format: column.format, column.description) {
                    object, now in
                    let values = column.path.values(in: object.json)
                    guard let value = values.first, !value.isNull else { return .null }
                    if column.type == "date" { return .string(Age.since(value.string, now)) }
                    if column.type == "string", value.string == nil {
                        return .string(values.map(\.text).joined(separator: ","))
                    }
                    return value
                }
                made.priority = column.priority
                return made
            }
    }

    /// A column of text.
    static func text(
        _ name: String, wide: Bool = false, _ cell: @escaping @Sendable (KubernetesObject) -> String
    ) -> TableColumn {
        TableColumn(name, wide: wide) { object, _ in .string(cell(object)) }
    }

    /// A column of whole numbers.
    static func number(_ name: String, _ cell: @escaping @Sendable (KubernetesObject) -> Int) -> TableColumn {
        TableColumn(name, type: "integer") { object, _ in .integer(Int64(cell(object))) }
    }

    static let name = TableColumn(
        "Name", format: "name", "Name must be unique within a namespace."
    ) { object, _ in .string(object.name) }

    static let age = TableColumn("Age", "Time since the object was created.") { object, now in
        .string(Age.since(object.metadata.creationTimestamp, now))
    }

    var definition: JSON {
        [
            "name": .string(name), "type": .string(type), "format": .string(format),
            "description": .string(description),
            "priority": .integer(Int64(priority)),
        ]
    }

    /// `<none>` for an empty text.
    static func shown(_ text: String) -> String { text.isEmpty ? "<none>" : text }
    /// Labels as `a=b,c=d`.
    static func labels(_ labels: [String: String]) -> String {
        shown(labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ","))
    }
}
