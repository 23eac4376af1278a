internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Mesh
internal import Serialization

/// An object that is to be analysed, with where it stands.
struct AnalyzedObject: Sendable {
    var object: KubernetesObject
    /// The file and the document in it; nil for objects of the cluster.
    var source: (file: String, document: YAMLDocument, prefix: String)?

    /// `shop.yaml`, as it was given.
    var file: String? { source?.file }

    /// The line of a field, or of the nearest thing around it.
    func line(of field: String) -> Int? {
        guard let source else { return nil }
        // `data.mesh: accessLogFile` is a field of a text in the field.
        let field = field.split(separator: ":", maxSplits: 1).first.map(String.init) ?? ""
        // `headers[x-user]` of a message is `headers.x-user` of the document.
        var path = ""
        for part in field.split(separator: "[", omittingEmptySubsequences: false) {
            guard !path.isEmpty, let end = part.firstIndex(of: "]"), Int(part[..<end]) == nil else {
                path += path.isEmpty ? String(part) : "[" + part
                continue
            }
            path += "." + part[..<end] + part[part.index(after: end)...]
        }
        return source.document.line(of: source.prefix + path)
    }

    /// How files are read.
    struct Reading: Sendable {
        /// For objects without one.
        var namespace: String
        /// Whether directories below directories count.
        var isRecursive: Bool
        /// Takes what is said of a document that cannot be analysed; without it that is an error.
        var leaveOut: (@Sendable (String) -> Void)?
    }

    /// Reads files and directories.
    static func load(_ paths: [String], _ reading: Reading) throws(CommandError) -> [AnalyzedObject] {
        var objects: [AnalyzedObject] = []
        for path in paths {
            for file in try files(path, reading.isRecursive) { objects += try read(file, reading) }
        }
        guard !objects.isEmpty else {
            throw CommandError("\(paths.joined(separator: ", ")): no objects in there", status: 2)
        }
        return objects
    }

    /// How deep directories are followed.
    private static let depthMax = 16

    private static func files(_ path: String, _ isRecursive: Bool, depth: Int = 0) throws(CommandError) -> [String] {
        guard path != "-", File.isDirectory(path) else { return [path] }
        let directory = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
        var found: [String] = []
        do throws(SystemError) {
            for name in try File.list(directory).sorted() {
                let inner = "\(directory)/\(name)"
                if File.isDirectory(inner) {
                    guard isRecursive, depth < depthMax else { continue }
                    do throws(CommandError) {
                        found += try files(inner, true, depth: depth + 1)
                    } catch {
                        // Directories without objects are no mistake below one that was named.
                        continue
                    }
                } else if [".yaml", ".yml", ".json"].contains(where: name.hasSuffix) {
                    found.append(inner)
                }
            }
        } catch {
            throw CommandError(error.description, status: 2)
        }
        if found.isEmpty {
            throw CommandError("\(directory): no .yaml, .yml or .json files (-R looks into directories)", status: 2)
        }
        return found
    }

    private static func read(_ file: String, _ reading: Reading) throws(CommandError) -> [AnalyzedObject] {
        let text: String
        let documents: [YAMLDocument]
        do throws(SystemError) {
            text = try File.text(file == "-" ? "/dev/stdin" : file)
        } catch {
            throw CommandError(error.description, status: 2)
        }
        do throws(YAMLError) {
            documents = try YAML.parse(text, file: file)
        } catch {
            throw CommandError(error.description, status: 2)
        }
        var objects: [AnalyzedObject] = []
        for document in documents where !document.json.isNull {
            let items = document.json["kind"]?.string == "List" ? document.json["items"]?.array : nil
            for (index, item) in (items ?? [document.json]).enumerated() {
                let prefix = items == nil ? "" : "items[\(index)]."
                do throws(CommandError) {
                    objects.append(try check(item, (file, document, prefix), reading.namespace))
                } catch {
                    guard let leaveOut = reading.leaveOut else { throw error }
                    leaveOut(error.message)
                }
            }
        }
        return objects
    }

    /// What cannot be analysed at all stops the command; what is wrong inside of an object becomes a finding.
    private static func check(
        _ json: JSON, _ source: (file: String, document: YAMLDocument, prefix: String), _ namespace: String
    ) throws(CommandError) -> AnalyzedObject {
        func fail(_ path: String, _ message: String) -> CommandError {
            CommandError("\(source.file):\(source.document.line(of: source.prefix + path)): \(message)", status: 2)
        }
        var object = KubernetesObject(json: json)
        guard case .object = json, !object.kind.isEmpty, !object.apiVersion.isEmpty else {
            throw fail("", "not a Kubernetes object: it needs apiVersion and kind")
        }
        guard let kind = ResourceKinds.standard.kind(apiVersion: object.apiVersion, kind: object.kind) else {
            throw fail("kind", UnknownKind.message(apiVersion: object.apiVersion, kind: object.kind))
        }
        if kind.isNamespaced, object.namespace.isEmpty, object.json["metadata"]?.object != nil {
            object.metadata.namespace = namespace
        }
        return AnalyzedObject(object: object, source: source)
    }

    /// The kinds that analyses look at.
    private static let kinds: [ResourceKind] = {
        let mesh = MeshObjects.Kind.allCases.compactMap { kind in
            ResourceKinds.standard.all.first { $0.group == kind.group && $0.kind == kind.name }
        }
        return mesh + [.deployment, .replicaSet]
    }()

    /// Everything that the cluster has of these kinds.
    static func live(_ client: KubernetesClient) async throws(CommandError) -> [AnalyzedObject] {
        var objects: [AnalyzedObject] = []
        for kind in kinds {
            let answer: Answer
            do throws(CommandError) {
                answer = try await client.call(.get, kind.path(namespace: nil))
            } catch {
                throw CommandError(error.message, status: 2)
            }
            guard answer.isSuccess else {
                throw CommandError("Error from server: \(kind.plural): \(answer.message)", status: 2)
            }
            for item in answer.json["items"]?.array ?? [] {
                var item = item
                // Items of a list do not say what they are.
                item["apiVersion"] = .string(kind.apiVersion)
                item["kind"] = .string(kind.kind)
                objects.append(AnalyzedObject(object: KubernetesObject(json: item)))
            }
        }
        return objects
    }
}
