import Glibc
import KubernetesAPI
import Mesh
import Serialization

/// A page of `docs/analysis`: what it says, and its two examples.
struct AnalysisPage {
    var text: String
    /// The example, and the mended one.
    var examples: [String] = []
    /// What `Found at` names.
    var field = ""

    init(_ code: DiagnosticCode) throws {
        text = try Repository.read(code.page)
        var block: String?
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if let open = block {
                if line == "```" {
                    examples.append(open)
                    block = nil
                } else {
                    block = open + line + "\n"
                }
            } else if line == "```yaml" {
                block = ""
            } else if line.hasPrefix("Found at `"), let end = line.lastIndex(of: "`") {
                field = String(line[..<end].dropFirst("Found at `".count))
            }
        }
    }
}

/// The files beside the tests.
enum Repository {
    struct Unreadable: Error { var path: String }

    /// The root of the repository.
    static let root = String(#filePath.dropLast("/Tests/MeshTests/Analysis/AnalysisPage.swift".count))

    static func read(_ path: String) throws -> String {
        guard let file = fopen("\(root)/\(path)", "r") else { throw Unreadable(path: path) }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        while case let byte = getc(file), byte != EOF { bytes.append(UInt8(truncatingIfNeeded: byte)) }
        return String(decoding: bytes, as: UTF8.self)
    }

    static func write(_ path: String, _ text: String) throws {
        guard let file = fopen("\(root)/\(path)", "w") else { throw Unreadable(path: path) }
        fputs(text, file)
        fclose(file)
    }

    static func names(_ folder: String) throws -> [String] {
        guard let directory = opendir("\(root)/\(folder)") else { throw Unreadable(path: folder) }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            names.append(
                withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                    String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
                })
        }
        return names.sorted()
    }

    /// The objects of a YAML text, in namespace `default` unless they say another.
    static func objects(_ yaml: String) throws -> [KubernetesObject] {
        try YAML.parse(yaml, file: "test").filter { !$0.json.isNull }.map { document in
            var object = KubernetesObject(json: document.json)
            if object.namespace.isEmpty, !["Namespace", "GatewayClass", "Node"].contains(object.kind) {
                object.metadata.namespace = "default"
            }
            return object
        }
    }

    /// What the analysis finds in a text, beside the shop of the pages.
    static func findings(_ yaml: String, beside other: String? = nil) throws -> [Diagnostic] {
        let shop = try objects(other ?? read("docs/analysis/shop.yaml"))
        return MeshAnalysis(try objects(yaml), beside: shop).run().findings.map(\.diagnostic)
    }
}
