internal import IO
internal import KubernetesAPI
internal import Mesh
internal import Serialization

/// One object of a file, with where it stands.
struct Manifest: Sendable {
    let object: KubernetesObject
    let kind: ResourceKind
    /// The file, absolute; nil for standard input and what is built in.
    var file: String?
    /// `bookstore.yaml:12`.
    let place: String

    /// The version of the API that it is written in.
    var version: String { String(object.apiVersion.split(separator: "/").last ?? "") }

    /// `deployment.apps/web`: how results are printed.
    var label: String { "\(kind.qualifiedName)/\(object.name)" }

    /// Reads files and directories (their `.yaml`, `.yml` and `.json` files, in the order of their names, not below),
    /// and checks every object: nothing is applied when anything is wrong.
    static func load(_ paths: [String], namespace: String?) throws(CommandError) -> [Manifest] {
        var manifests: [Manifest] = []
        for path in paths {
            for file in try files(path) { manifests += try read(file, namespace: namespace) }
        }
        guard !manifests.isEmpty else { throw CommandError("\(paths.joined(separator: ", ")): no objects in there") }
        return manifests
    }

    private static func files(_ path: String) throws(CommandError) -> [String] {
        guard path != "-", File.isDirectory(path) else { return [path] }
        let directory = path.hasSuffix("/") ? String(path.dropLast()) : path
        do throws(SystemError) {
            let names = try File.list(directory).filter { name in
                [".yaml", ".yml", ".json"].contains { name.hasSuffix($0) } && !File.isDirectory("\(directory)/\(name)")
            }
            guard !names.isEmpty else { throw SystemError(2, "\(path): no .yaml, .yml or .json files") }
            return names.map { "\(directory)/\($0)" }
        } catch {
            throw CommandError(
                error.errno == 2 && error.operation.contains("no .yaml") ? error.operation : error.description)
        }
    }

    private static func read(_ file: String, namespace: String?) throws(CommandError) -> [Manifest] {
        let text: String
        do throws(SystemError) {
            text = try File.text(file == "-" ? "/dev/stdin" : file)
        } catch {
            throw CommandError(error)
        }
        let documents: [YAMLDocument]
        do throws(YAMLError) {
            documents = try YAML.parse(text, file: file)
        } catch {
            throw CommandError(error.description)
        }
        var manifests: [Manifest] = []
        for document in documents where !document.json.isNull {
            let items = document.json["kind"]?.string == "List" ? document.json["items"]?.array : nil
            for item in items ?? [document.json] {
                manifests.append(try check(item, document, items == nil ? "" : "items.", file, namespace))
            }
        }
        return manifests
    }

    private static func check(
        _ json: JSON, _ document: YAMLDocument, _ prefix: String, _ file: String, _ namespace: String?
    ) throws(CommandError) -> Manifest {
        func fail(_ path: String, _ message: String) -> CommandError {
            CommandError("\(file):\(document.line(of: path)): \(message)")
        }
        var object = KubernetesObject(json: json)
        guard case .object = json, !object.kind.isEmpty, !object.apiVersion.isEmpty else {
            throw fail("", "not a Kubernetes object: it needs apiVersion and kind")
        }
        guard let kind = ResourceKinds.standard.kind(apiVersion: object.apiVersion, kind: object.kind) else {
            throw fail("kind", UnknownKind.message(apiVersion: object.apiVersion, kind: object.kind))
        }
        if kind.isNamespaced {
            if object.namespace.isEmpty { object.metadata.namespace = namespace ?? "default" }
            if let namespace, object.namespace != namespace {
                throw fail(
                    "metadata.namespace",
                    "the namespace of \(object.kind) \(object.name) (\(object.namespace)) is not \(namespace), as --namespace says"
                )
            }
        }
        let place = "\(file):\(document.line(of: ""))"
        func coded(_ code: DiagnosticCode) -> String {
            DiagnosticCode.standsBesideRefusals(of: kind) ? " [\(code.id)]" : ""
        }
        var decoder = SchemaDecoder()
        let decoded: JSON
        do throws(TypeMismatch) {
            decoded = try decoder.decode(object.json, as: kind)
        } catch {
            throw fail(error.path, "\(kind.qualifiedName)/\(object.name): \(error)\(coded(.invalidValue))")
        }
        if let field = decoder.unknownFields.first {
            throw fail(field, "\(kind.qualifiedName)/\(object.name): unknown field \"\(field)\"\(coded(.unknownField))")
        }
        let defaulted = SchemaTable.standard.applyDefaults(to: decoded, of: kind)
        if let problem = Validator.problems(of: KubernetesObject(json: defaulted), kind: kind).first {
            throw fail(problem.path, "\(kind.qualifiedName)/\(object.name): \(problem)\(coded(.invalidValue))")
        }
        var manifest = Manifest(object: object, kind: kind, place: place)
        if file != "-" { manifest.file = File.realPath(file) }
        return manifest
    }
}

extension ResourceKind {
    /// `service`, `deployment.apps`.
    var qualifiedName: String { group.isEmpty ? singular : singular + "." + group }

    /// The path of the collection, or of one object in it.
    ///
    /// - Parameter version: The version of the API in which it is spoken of; nil: the preferred one.
    func path(namespace: String?, name: String? = nil, version: String? = nil) -> String {
        let version = version ?? preferredVersion
        var path = group.isEmpty ? "/api/\(version)" : "/apis/\(group)/\(version)"
        if isNamespaced, let namespace { path += "/namespaces/\(namespace)" }
        path += "/\(plural)"
        if let name { path += "/\(name)" }
        return path
    }

    /// The kind that somebody means by a word: `pod`, `pods`, `po`, `deployments.apps`.
    static func named(_ word: String) throws(CommandError) -> ResourceKind {
        let lower = word.lowercased()
        let found = ResourceKinds.standard.all.first { kind in
            kind.plural == lower || kind.singular == lower || kind.shortNames.contains(lower)
                || lower == "\(kind.plural).\(kind.group)" || lower == kind.qualifiedName
        }
        guard let found else { throw CommandError("the server doesn't have a resource type \"\(word)\"") }
        return found
    }
}
