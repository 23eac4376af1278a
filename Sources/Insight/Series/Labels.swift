/// One label of a series.
public struct Label: Hashable, Sendable, Comparable {
    /// The label's name.
    public var name: String
    /// The label's value; an empty one is the same as no label.
    public var value: String

    /// A label.
    public init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }

    /// By name, then by value.
    public static func < (left: Label, right: Label) -> Bool { (left.name, left.value) < (right.name, right.value) }
}

/// The labels that name a series, sorted, the metric's name among them as `__name__`.
public struct Labels: Hashable, Sendable, Comparable {
    /// The label that holds the metric's name.
    public static let metricName = "__name__"

    /// Sorted by name; no two with the same name, none with an empty value.
    public private(set) var pairs: [Label]

    /// The labels of a dictionary.
    public init(_ values: [String: String] = [:]) {
        pairs = values.filter { !$0.value.isEmpty }.map { Label($0.key, $0.value) }.sorted()
    }

    /// A metric's name and its labels.
    public init(_ name: String, _ values: [String: String] = [:]) {
        self.init(values.merging([Self.metricName: name]) { _, new in new })
    }

    /// The value of a label; empty without one.
    public subscript(_ name: String) -> String {
        get { pairs.first { $0.name == name }?.value ?? "" }
        set {
            pairs.removeAll { $0.name == name }
            guard !newValue.isEmpty else { return }
            let place = pairs.firstIndex { $0.name > name } ?? pairs.endIndex
            pairs.insert(Label(name, newValue), at: place)
        }
    }

    /// The metric's name; empty without one.
    public var name: String { self[Self.metricName] }

    /// Without the metric's name.
    public var unnamed: Labels {
        var rest = self
        rest.pairs.removeAll { $0.name == Self.metricName }
        return rest
    }

    /// Only these labels.
    public func keeping(_ names: Set<String>) -> Labels {
        var rest = self
        rest.pairs.removeAll { !names.contains($0.name) }
        return rest
    }

    /// Without these labels.
    public func dropping(_ names: Set<String>) -> Labels {
        var rest = self
        rest.pairs.removeAll { names.contains($0.name) }
        return rest
    }

    /// By their pairs, in order.
    public static func < (left: Labels, right: Labels) -> Bool {
        left.pairs.lexicographicallyPrecedes(right.pairs)
    }

    /// As PromQL writes a series: `name{a="b"}`.
    public var text: String {
        let rest = unnamed.pairs.map { "\($0.name)=\(Self.quoted($0.value))" }.joined(separator: ", ")
        return rest.isEmpty && !name.isEmpty ? name : "\(name){\(rest)}"
    }

    /// A text in quotation marks, as PromQL and the exposition format read it.
    static func quoted(_ value: String) -> String {
        var text = "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\\": text += "\\\\"
            case "\"": text += "\\\""
            case "\n": text += "\\n"
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text + "\""
    }
}
