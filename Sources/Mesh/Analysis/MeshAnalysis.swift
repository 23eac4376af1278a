public import KubernetesAPI
import Serialization

/// The analysis of many objects together, without a cluster or beside what one has (`skein analyze`).
///
/// The diagnostics of admission are all in it; added is what only makes sense for a whole: what nobody selects, names or
/// reaches. Pure: the same objects give the same findings in the same order.
public struct MeshAnalysis: Sendable {
    /// Something about one of the objects that were to be analysed.
    public struct Finding: Sendable, Hashable {
        /// The object's position in the list.
        public var index: Int
        /// What was found.
        public var diagnostic: Diagnostic
    }

    /// What came out.
    public struct Report: Sendable {
        /// In the order of the objects; of one object, in the order of its fields as the analysis walks them.
        public var findings: [Finding]
        /// How many things were looked at: grows with the objects and no faster.
        public var work: Int
    }

    private let written: [KubernetesObject]
    private let others: [KubernetesObject]

    /// Takes the objects to analyse, and others that are there as well, which nothing is said about.
    ///
    /// What every Skein has is added. Of two objects with one name that of the first list counts; in it, the later one.
    public init(_ objects: [KubernetesObject], beside others: [KubernetesObject] = []) {
        written = objects
        self.others = others
    }

    /// What identifies an object among all.
    struct Identity: Hashable {
        var group: String
        var kind: String
        var name: NamespacedName

        init(_ object: KubernetesObject) {
            group = object.group
            kind = object.kind
            name = NamespacedName(namespace: object.namespace, name: object.name)
        }
    }

    /// Analyses everything.
    public func run() -> Report {
        var diagnostics: [[Diagnostic]] = Array(repeating: [], count: written.count)
        var readable: [KubernetesObject] = []
        var indices: [Int] = []
        for (index, object) in written.enumerated() {
            let (found, defaulted) = SchemaAnalysis(object).result()
            diagnostics[index] = found
            guard let defaulted else { continue }
            readable.append(defaulted)
            indices.append(index)
        }
        var last: [Identity: Int] = [:]
        for (position, object) in readable.enumerated() {
            if let earlier = last.updateValue(position, forKey: Identity(object)) {
                let key = Identity(object).name
                diagnostics[indices[position]].append(
                    Diagnostic(
                        .objectTwice, kind: object.kind, object: key, field: "metadata.name",
                        message: "object \(indices[earlier] + 1) of the input is the same one: this one replaces it"))
            }
        }
        var known = Set(last.keys)
        var all = readable.enumerated().filter { last[Identity($0.element)] == $0.offset }.map(\.element)
        for object in others + InstalledObjects.all where known.insert(Identity(object)).inserted {
            all.append(object)
        }
        let planned = PlannedObjects(all).all
        let model = MeshModel(MeshObjects(planned))
        let tables = AnalysisTables(model)
        tables.count(planned.count)
        let whole = WholeAnalysis(tables, planned)
        for (position, object) in readable.enumerated() where last[Identity(object)] == position {
            let found = model.analyze(object, tables) + whole.diagnostics(object)
            // What an analysis says of a field is better than what its schema says.
            let told = Set(found.filter { $0.severity == .error }.map(\.field))
            diagnostics[indices[position]].removeAll { $0.code == .invalidValue && told.contains($0.field) }
            diagnostics[indices[position]] += found
        }
        return Report(
            findings: diagnostics.enumerated().flatMap { index, found in
                found.map { Finding(index: index, diagnostic: $0) }
            }, work: tables.work)
    }
}

/// What the schema of an object's kind says.
struct SchemaAnalysis {
    private let object: KubernetesObject

    init(_ object: KubernetesObject) { self.object = object }

    /// The findings, and the object with its defaults; nil when its kind is unknown or a value has the wrong type.
    func result() -> (found: [Diagnostic], object: KubernetesObject?) {
        guard let kind = ResourceKinds.standard.kind(apiVersion: object.apiVersion, kind: object.kind) else {
            return ([], nil)
        }
        var decoder = SchemaDecoder()
        let decoded: JSON
        do throws(TypeMismatch) {
            decoded = try decoder.decode(object.json, as: kind)
        } catch {
            return ([finding(.invalidValue, error.path, "\(error.found) where \(error.expected) is expected")], nil)
        }
        var found = decoder.unknownFields.map { path in
            finding(.unknownField, path, "\(object.kind) has no field \"\(path)\": it has no effect; apply refuses it")
        }
        let defaulted = KubernetesObject(json: SchemaTable.standard.applyDefaults(to: decoded, of: kind))
        found += Validator.problems(of: defaulted, kind: kind).map { finding(.invalidValue, $0.path, $0.message) }
        return (found, defaulted)
    }

    private func finding(_ code: DiagnosticCode, _ field: String, _ message: String) -> Diagnostic {
        Diagnostic(
            code, kind: object.kind, object: NamespacedName(namespace: object.namespace, name: object.name),
            field: field, message: message)
    }
}

extension DiagnosticCode {
    /// Whether refusals of a kind's schema carry `invalidValue` or `unknownField` wherever they are told.
    ///
    /// Those of Istio's kinds and the Gateway API's do; of its own kinds Kubernetes' words are what people know.
    public static func standsBesideRefusals(of kind: ResourceKind) -> Bool { !kind.isBuiltIn && !kind.isCustom }
}
