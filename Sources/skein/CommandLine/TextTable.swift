internal import KubernetesAPI
internal import Serialization

/// Columns of text as kubectl prints them: three blanks between, names in capitals.
struct TextTable {
    private(set) var header: [String] = []
    private(set) var rows: [[String]] = []
    private let minimum: [Int]

    init(widths: [Int] = []) { minimum = widths }

    init(header: [String], rows: [[String]]) {
        self.header = header
        self.rows = rows
        minimum = []
    }

    /// Adds the rows of a `Table` of the API.
    mutating func append(
        _ table: JSON, isWide: Bool, withNamespace: Bool, withLabels: Bool, namePrefix: String = ""
    ) {
        let columns = table["columnDefinitions"]?.array ?? []
        let shown = columns.indices.filter { isWide || columns[$0]["priority"]?.int ?? 0 == 0 }
        if header.isEmpty {
            header = shown.map { (columns[$0]["name"]?.string ?? "").uppercased() }
            if withNamespace { header.insert("NAMESPACE", at: 0) }
            if withLabels { header.append("LABELS") }
        }
        for row in table["rows"]?.array ?? [] {
            let cells = row["cells"]?.array ?? []
            let object = KubernetesObject(json: row["object"] ?? .null)
            var texts = shown.map { cells.indices.contains($0) ? Self.text(cells[$0]) : "" }
            if !texts.isEmpty { texts[0] = namePrefix + texts[0] }
            if withNamespace { texts.insert(object.namespace, at: 0) }
            if withLabels {
                let labels = object.metadata.labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
                texts.append(labels.isEmpty ? "<none>" : labels.joined(separator: ","))
            }
            rows.append(texts)
        }
    }

    private static func text(_ cell: JSON) -> String {
        switch cell {
        case .string(let text): text.isEmpty ? "" : text
        case .null: "<none>"
        default: cell.text
        }
    }

    /// Width of each column.
    var widths: [Int] {
        header.indices.map { column in
            let longest = rows.map { $0.indices.contains(column) ? $0[column].count : 0 }.max() ?? 0
            return max(longest, header[column].count, minimum.indices.contains(column) ? minimum[column] : 0)
        }
    }

    /// Header and rows.
    var text: String { line(header) + body }

    /// The rows.
    var body: String { rows.map(line).joined() }

    private func line(_ cells: [String]) -> String {
        let widths = widths
        var line = ""
        for (column, cell) in cells.enumerated() {
            line += cell
            let isLast = column == cells.count - 1
            if !isLast { line += String(repeating: " ", count: max(0, widths[column] - cell.count) + 3) }
        }
        while line.last == " " { line.removeLast() }
        return line + "\n"
    }
}
