/// YAML as Kubernetes and Envoy use it: another spelling of JSON.
public enum YAML {
    /// Values nested deeper than this are refused, so that recursion has a bound.
    public static let depthMax = 100
    /// How many values the aliases of one document may add to it: far more than people write, and few enough that a
    /// document which doubles itself line by line stops soon.
    public static let aliasedNodesMax = 100_000

    /// The documents of a text; empty ones are left out.
    ///
    /// `file` is for error messages only.
    ///
    /// Scalars are read as Kubernetes reads them: besides the core schema of YAML 1.2 also `yes`, `no`, `on` and
    /// `off` are booleans and `0644` is octal. Keys that are numbers or booleans become strings. A key that is there
    /// twice is refused.
    ///
    /// With `fractionsAreText`, which is how Envoy reads YAML, only whole numbers in decimal, octal (`0644`) and
    /// hexadecimal are numbers: `7e5` and `0.5` are text, from which a field that wants a number makes one.
    ///
    /// Without `keepingLines` a document does not know the line of each of its values: a third of the time and most of
    /// the memory of a large file.
    public static func parse(
        _ text: String, file: String = "", keepingLines: Bool = true, fractionsAreText: Bool = false
    ) throws(YAMLError) -> [YAMLDocument] {
        var reader = YAMLReader(
            Array(text.utf8), file: file, keepsLines: keepingLines, fractionsAreText: fractionsAreText)
        return try reader.documents()
    }

    /// The value in block style with sorted keys, as `kubectl get -o yaml` prints it; ends with a newline.
    public static func write(_ json: JSON) -> String {
        var writer = YAMLWriter()
        writer.document(json)
        return writer.text
    }
}

/// One document of a YAML text.
public struct YAMLDocument: Sendable {
    /// Its value.
    public let json: JSON
    /// The line on which it begins, counted from 1.
    public let firstLine: Int
    /// The lines of everything in it, by path.
    let lines: [String: Int]

    /// The line of what is at that path (`spec.containers[0].image`), or of the nearest thing around it.
    public func line(of path: String) -> Int {
        var path = path[...]
        while !path.isEmpty {
            if let line = lines[String(path)] { return line }
            guard let cut = path.lastIndex(where: { $0 == "." || $0 == "[" }) else { break }
            path = path[..<cut]
        }
        return firstLine
    }
}

/// Why a text is no YAML that we accept.
public struct YAMLError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The file, as given to `YAML.parse`.
    public var file: String
    /// The line, counted from 1.
    public var line: Int
    /// What is wrong.
    public var problem: String

    /// File, line and problem.
    public var description: String { file.isEmpty ? "line \(line): \(problem)" : "\(file):\(line): \(problem)" }
}
