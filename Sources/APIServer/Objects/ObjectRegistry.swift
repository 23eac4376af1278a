public import KubernetesAPI
public import Serialization
public import Store

/// All objects of the API with the rules of their lives: admission, defaults, validation, addresses, deletion.
///
/// The REST router and the controllers of this process both act through it. Loop-owned and synchronous: what a call
/// returns is stored. Clock and randomness come from outside.
public final class ObjectRegistry {
    /// How unknown and duplicate fields are treated.
    public enum FieldValidation: String, Sendable {
        /// They are an error.
        case strict = "Strict"
        /// They are dropped with a warning.
        case warn = "Warn"
        /// They are dropped.
        case ignore = "Ignore"
    }

    /// How a write is done.
    public struct WriteOptions: Sendable {
        /// Whether everything happens but the storing.
        public var isDryRun = false
        /// How unknown fields are treated.
        public var fieldValidation = FieldValidation.warn
        /// The version of the kind that the caller speaks; empty means the preferred one.
        public var version = ""
        /// Who asks: a role may give no rights that its writer does not have; `nil` for this process's own controllers.
        public var user: APIUser?
        /// Who writes, for `metadata.managedFields`; empty for this process's own controllers.
        public var manager = ""
        /// Whether the manager states its fields (server-side apply) or writes them.
        var operation = ManagedFields.Operation.update
        /// Fields of the body that are there twice.
        var duplicates: [String] = []
        /// The sub-resource that owns what is written, where it is another than that of the object.
        var subresource: String?
        /// The managers as they shall be; else they follow from what is written.
        var managed: ManagedFields?
        /// Stored, unknown fields dropped with a warning, preferred version.
        public init() {}
    }

    /// What a write made.
    public struct Written: Sendable {
        /// The object as it is now, with its resource version.
        public var object: KubernetesObject
        /// What the caller should know.
        public var warnings: [String]
    }

    /// The kinds that are served: those compiled in, and those that somebody has defined.
    public internal(set) var kinds: ResourceKinds
    /// The kinds that are compiled in.
    let standardKinds: ResourceKinds
    /// Counts the changes of `kinds`.
    var kindsGeneration = 0
    /// The definitions of the custom kinds, by their place in the store.
    var definitions: [String: CustomDefinition] = [:]
    /// Whether a pattern of a definition's schema is found in a text; `nil` when the pattern is none.
    ///
    /// Without it patterns are looked for as plain text: set it to a linear-time matcher.
    public var patternMatches: (_ pattern: String, _ text: String) -> Bool? = { $1.contains($0) }
    /// Where a pattern of a custom kind's rules is found first in a text, at or behind a place; without an engine nowhere.
    public var patternFinds: (_ pattern: String, _ text: [UInt8], _ start: Int) -> Range<Int>? = { _, _, _ in nil }
    /// Where the objects are.
    public let store: any ObjectStore
    /// The node that new pods without `nodeName` are bound to; without it they stay unbound.
    public var defaultNodeName: String?
    /// What the mesh has to say about an object that is written, for `Warning` headers.
    public var admissionWarnings: (KubernetesObject, ResourceKind) -> [String] = { _, _ in [] }
    /// Annotations that a new pod gets from the mesh.
    public var podAnnotations: (KubernetesObject) -> [String: String] = { _ in [:] }
    /// The codes of what the schema of a kind refuses; none for kinds that are Kubernetes' own.
    public var schemaCodes: (ResourceKind) -> SchemaCodes? = { _ in nil }
    /// What makes the mesh refuse an object that is written: it cannot mean anything.
    public var admissionProblems: (KubernetesObject, ResourceKind) -> [FieldProblem] = { _, _ in [] }
    /// Whether there is a time zone of that name; without it every name that could be one is taken.
    public var knowsTimeZone: (String) -> Bool = { _ in true }
    let now: () -> Timestamp
    private var random: any RandomNumberGenerator
    var addresses: ServiceAddresses
    var owners = OwnerIndex()
    /// Who may do what; `nil` when roles or bindings have changed.
    var knownPolicy: AccessPolicy?
    var isAggregating = false
    var watchTexts = WatchTexts()

    /// A registry over what `store` holds.
    ///
    /// - Parameter serviceRanges: where the addresses of services come from.
    public init(
        store: any ObjectStore, kinds: ResourceKinds = .standard, serviceRanges: ServiceRanges = .standard,
        random: any RandomNumberGenerator = SystemRandomNumberGenerator(),
        now: @escaping () -> Timestamp
    ) {
        self.store = store
        addresses = ServiceAddresses(serviceRanges)
        self.kinds = kinds
        standardKinds = kinds
        self.random = random
        self.now = now
        followStore()
    }

    // MARK: Reading

    func key(_ kind: ResourceKind, _ namespace: String, _ name: String) -> StoreKey {
        StoreKey(resource: kind.storeResource, namespace: kind.isNamespaced ? namespace : "", name: name)
    }

    func stored(_ kind: ResourceKind, _ namespace: String, _ name: String) throws(StatusError) -> StoredObject {
        guard let stored = store.get(key(kind, namespace, name)) else { throw .notFound(kind, name) }
        return stored
    }

    /// The object as clients of `version` see it.
    func shown(_ stored: StoredObject, _ kind: ResourceKind, version: String = "") -> JSON {
        var object = seen(stored.object, kind, version: version)
        var metadata = object["metadata"] ?? .object([:])
        metadata["resourceVersion"] = .string(String(stored.revision))
        object["metadata"] = metadata
        return object
    }

    /// The object as clients of `version` see it, but for its resource version.
    func seen(_ object: JSON, _ kind: ResourceKind, version: String) -> JSON {
        guard !version.isEmpty, version != kind.preferredVersion else { return object }
        var object = object
        object["apiVersion"] = .string(kind.apiVersion(version))
        return ObjectView(kind, version: version)?.shown(object) ?? object
    }

    /// The same for readers in this process: its resource version stands beside what the store keeps.
    func viewed(_ stored: StoredObject, _ kind: ResourceKind, version: String = "") -> KubernetesObject {
        KubernetesObject(content: seen(stored.object, kind, version: version), revision: stored.revision)
    }

    /// One object; cluster-scoped kinds ignore the namespace.
    public func get(_ kind: ResourceKind, _ namespace: String = "", _ name: String) throws(StatusError)
        -> KubernetesObject
    {
        viewed(try stored(kind, namespace, name), kind)
    }

    /// All objects of a kind, in one namespace or in all, that a selection wants.
    public func list(
        _ kind: ResourceKind, namespace: String? = nil, selection: Selection = Selection()
    ) -> [KubernetesObject] {
        store.list(kind.storeResource, namespace: kind.isNamespaced ? namespace : nil)
            .filter { selection.matches($0.object) }
            .map { viewed($0, kind) }
    }

    /// Every change of a kind after `revision` (default: from now on); `wake` is called when there is something to take.
    public func watch(
        _ kind: ResourceKind, from revision: Revision? = nil, wake: @escaping () -> Void
    ) throws(StatusError) -> StoreWatch {
        do {
            return try store.watch(kind.storeResource, from: revision ?? store.revision, wake: wake)
        } catch {
            throw status(error, kind, "")
        }
    }

    /// The changed object of a watch event as clients see it.
    public func object(of event: StoreEvent, _ kind: ResourceKind) -> KubernetesObject {
        viewed(event.object, kind)
    }

    // MARK: Writing

    /// Creates an object.
    public func create(
        _ object: JSON, _ kind: ResourceKind, namespace: String = "", options: WriteOptions = WriteOptions()
    ) throws(StatusError) -> Written {
        var (object, warnings) = try decoded(object, kind, options)
        var metadata = object["metadata"] ?? .object([:])
        let meta = ObjectMeta(json: metadata)
        guard meta.resourceVersion.isEmpty else {
            throw .badRequest("resourceVersion should not be set on objects to be created")
        }
        try place(&metadata, kind, namespace)
        if meta.name.isEmpty, let prefix = metadata["generateName"]?.string, !prefix.isEmpty {
            metadata["name"] = .string(String(prefix.prefix(58)) + randomSuffix())
        }
        let name = metadata["name"]?.string ?? ""
        if kind.isNamespaced { try openNamespace(namespace, kind, name) }
        for field in ["managedFields", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
            metadata[field] = nil
        }
        metadata["uid"] = .string(uuid())
        metadata["creationTimestamp"] = .string(now().secondsText)
        if kind.hasGeneration { metadata["generation"] = 1 }
        object["metadata"] = metadata
        if kind.subresources.contains("status"), kind != .node { object["status"] = nil }
        let stated = object
        object = defaulted(object, kind, options.version)
        recordOwners(ofNew: &object, stated: stated, kind, options)
        try fill(&object, kind, namespace)
        prepareNew(&object, kind)
        if kind == .pod {
            for (key, value) in podAnnotations(KubernetesObject(json: object)) {
                var metadata = object["metadata"] ?? .object([:])
                var annotations = metadata["annotations"] ?? .object([:])
                annotations[key] = .string(value)
                metadata["annotations"] = annotations
                object["metadata"] = metadata
            }
        }
        try check(refusals(of: object, old: nil, kind, options.version), kind, name)
        if kind == .customResourceDefinition {
            warnings += try checkDefinition(object)
            prepareDefinition(&object, old: nil)
        }
        let key = key(kind, namespace, name)
        guard store.get(key) == nil else { throw .alreadyExists(kind, name) }
        try checkEscalation(object, kind, options.user)
        try checkAllowance(object, old: nil, kind, namespace)
        let before = addresses
        do throws(StatusError) {
            if kind == .service { try addresses.assign(&object, old: nil) }
            try check(admissionProblems(KubernetesObject(json: object), kind), kind, name)
            warnings += admissionWarnings(KubernetesObject(json: object), kind)
            if options.isDryRun {
                addresses = before
                return Written(object: KubernetesObject(json: versioned(object, kind, options)), warnings: warnings)
            }
            let stored = try wrap(kind, name) { () throws(StoreError) in
                try store.create(key, object, durability(kind, ""))
            }
            owners.insert(key, stored.object)
            kindChanged(kind)
            if kind == .namespace { try? createDefaults(in: name) }
            return Written(
                object: viewed(stored, kind, version: options.version), warnings: warnings)
        } catch {
            addresses = before
            throw error
        }
    }

    /// Changes an object: `change` gets it as it is and returns it as it should be.
    ///
    /// With `subresource` `status` only the status is taken, else everything but the status (where a kind has that
    /// sub-resource). A resource version in the result must be the present one.
    public func modify(
        _ kind: ResourceKind, _ namespace: String = "", _ name: String, subresource: String = "",
        options: WriteOptions = WriteOptions(), _ change: (JSON) throws(StatusError) -> JSON
    ) throws(StatusError) -> Written {
        let current = try stored(kind, namespace, name)
        if kind == .horizontalPodAutoscaler, subresource == "status", options.version == "v1" {
            throw .methodNotAllowed("the status of an autoscaler is written in autoscaling/v2: v1 cannot say all of it")
        }
        let proposal = try change(shown(current, kind, version: options.version))
        var (object, warnings) = try decoded(proposal, kind, options)
        try agree(&object, current, kind, namespace)
        let old = current.object
        if subresource == "status" {
            var kept = old
            kept["status"] = object["status"]
            object = kept
        } else if subresource == "ephemeralcontainers" {
            var kept = old
            kept["spec"]?["ephemeralContainers"] = object["spec"]?["ephemeralContainers"]
            object = kept
        } else if kind.subresources.contains("status") {
            object["status"] = old["status"]
        }
        object = defaulted(object, kind, options.version)
        recordOwners(
            of: &object, old: old, stated: proposal["metadata"]?["managedFields"], kind, subresource, options)
        let before = addresses
        do throws(StatusError) {
            if kind == .service, subresource.isEmpty { try addresses.assign(&object, old: old) }
            let problems =
                subresource == "status" && !kind.isCustom
                ? []
                : subresource == "ephemeralcontainers"
                    ? Validator.ephemeralProblems(
                        updating: KubernetesObject(json: old), to: KubernetesObject(json: object))
                    : refusals(of: object, old: old, kind, options.version)
            try check(problems, kind, name)
            if subresource.isEmpty {
                try checkEscalation(object, kind, options.user)
                if kind == .priorityClass { try checkDefaultPriority(object, name: name) }
                if old["spec"] != object["spec"] { try checkAllowance(object, old: old, kind, namespace) }
            }
            if kind == .customResourceDefinition, subresource.isEmpty {
                warnings += try checkDefinition(object, old: old)
                prepareDefinition(&object, old: old)
            }
            if kind.hasGeneration, subresource.isEmpty, isNewGeneration(object, old, kind) {
                var metadata = object["metadata"] ?? .object([:])
                metadata["generation"] = .integer(Int64((old["metadata"]?["generation"]?.int ?? 0) + 1))
                object["metadata"] = metadata
            }
            if subresource.isEmpty {
                // What was accepted once may be written again: its labels and finalizers must not be stuck.
                if old["spec"] != object["spec"] {
                    try check(admissionProblems(KubernetesObject(json: object), kind), kind, name)
                }
                warnings += admissionWarnings(KubernetesObject(json: object), kind)
            }
            if options.isDryRun {
                addresses = before
                var object = versioned(object, kind, options)
                object["metadata"]?["resourceVersion"] = .string(String(current.revision))
                return Written(object: KubernetesObject(json: object), warnings: warnings)
            }
            if isUnchanged(object, old) {
                addresses = before
                return Written(
                    object: viewed(current, kind, version: options.version), warnings: warnings)
            }
            let stored = try replace(current, with: object, kind, subresource)
            if isFree(object, kind) {
                let last = try remove(stored, kind)
                return Written(
                    object: viewed(last, kind, version: options.version), warnings: warnings)
            }
            return Written(
                object: viewed(stored, kind, version: options.version), warnings: warnings)
        } catch {
            addresses = before
            throw error
        }
    }

    /// Replaces an object by another.
    public func update(
        _ object: JSON, _ kind: ResourceKind, _ namespace: String = "", subresource: String = "",
        options: WriteOptions = WriteOptions()
    ) throws(StatusError) -> Written {
        let name = object["metadata"]?["name"]?.string ?? ""
        return try modify(kind, namespace, name, subresource: subresource, options: options) { _ in object }
    }

    // MARK: What writes share

    /// Whether something has changed that counts a generation: the `spec`, of custom kinds all but metadata and status.
    private func isNewGeneration(_ object: JSON, _ old: JSON, _ kind: ResourceKind) -> Bool {
        guard kind.isCustom else { return old["spec"] != object["spec"] }
        var (left, right) = (object, old)
        for name in kind.subresources.contains("status") ? ["metadata", "status"] : ["metadata"] {
            left[name] = nil
            right[name] = nil
        }
        return left != right
    }

    func replace(
        _ current: StoredObject, with object: JSON, _ kind: ResourceKind, _ subresource: String
    ) throws(StatusError) -> StoredObject {
        let stored = try wrap(kind, current.key.name) { () throws(StoreError) in
            try store.update(current.key, object, expected: current.revision, durability(kind, subresource))
        }
        owners.remove(current.key, current.object)
        owners.insert(stored.key, stored.object)
        kindChanged(kind)
        return stored
    }

    private func versioned(_ object: JSON, _ kind: ResourceKind, _ options: WriteOptions) -> JSON {
        var object = object
        if !options.version.isEmpty { object["apiVersion"] = .string(kind.apiVersion(options.version)) }
        if let view = ObjectView(kind, version: options.version) { object = view.shown(object) }
        return object
    }

    func decoded(
        _ json: JSON, _ kind: ResourceKind, _ options: WriteOptions
    ) throws(StatusError) -> (JSON, [String]) {
        let version = options.version.isEmpty ? kind.preferredVersion : options.version
        let expected = kind.apiVersion(version)
        if let stated = json["apiVersion"]?.string, !stated.isEmpty, stated != expected {
            throw .badRequest(
                "the API version in the data (\(stated)) does not match the expected API version (\(expected))")
        }
        if let stated = json["kind"]?.string, !stated.isEmpty, stated != kind.kind {
            throw .badRequest("\(stated) in version \"\(version)\" cannot be handled as a \(kind.kind)")
        }
        let codes = schemaCodes(kind)
        let view = ObjectView(kind, version: version)
        let foreign = view?.foreignFields(json) ?? []
        let json = view?.stored(json) ?? json
        var object: JSON
        var dropped: [String]
        if let definition = definition(kind, version) {
            (object, dropped) = try decodedCustom(json, kind, definition)
        } else {
            var decoder = SchemaDecoder()
            do {
                object = try decoder.decode(json, as: kind)
            } catch {
                let code = codes.map { " [\($0.invalidValue)]" } ?? ""
                throw .badRequest(
                    "\(kind.kind) in version \"\(version)\" cannot be handled as a \(kind.kind): \(error)\(code)")
            }
            dropped = decoder.unknownFields + foreign
        }
        let unknown =
            dropped.map { "unknown field \"\($0)\"" + (codes.map { " [\($0.unknownField)]" } ?? "") }
            + options.duplicates.map { "duplicate field \"\($0)\"" }
        if options.fieldValidation == .strict, !unknown.isEmpty {
            throw .badRequest(
                "\(kind.kind) in version \"\(version)\" cannot be handled as a \(kind.kind): strict decoding error: "
                    + unknown.joined(separator: ", "))
        }
        object["apiVersion"] = .string(kind.apiVersion)
        object["kind"] = .string(kind.kind)
        var warnings = options.fieldValidation == .warn ? unknown : []
        if kind.group == "admissionregistration.k8s.io" {
            warnings.append("\(kind.kind) is kept, and not evaluated by this server")
        }
        return (object, warnings)
    }

    private func place(_ metadata: inout JSON, _ kind: ResourceKind, _ namespace: String) throws(StatusError) {
        guard kind.isNamespaced else {
            metadata["namespace"] = nil
            return
        }
        if let stated = metadata["namespace"]?.string, !stated.isEmpty, stated != namespace {
            throw .badRequest("the namespace of the provided object does not match the namespace sent on the request")
        }
        metadata["namespace"] = .string(namespace)
    }

    private func openNamespace(_ namespace: String, _ kind: ResourceKind, _ name: String) throws(StatusError) {
        let found = try stored(.namespace, "", namespace)
        if found.object["metadata"]?["deletionTimestamp"] != nil {
            var error = StatusError.forbidden(
                kind, name, "unable to create new content in namespace \(namespace) because it is being terminated")
            error.details["causes"] = [
                [
                    "reason": "NamespaceTerminating", "message": .string("namespace \(namespace) is being terminated"),
                    "field": "metadata.namespace",
                ]
            ]
            throw error
        }
    }

    /// An update keeps what the system owns, and must speak of the object as it is.
    private func agree(
        _ object: inout JSON, _ current: StoredObject, _ kind: ResourceKind, _ namespace: String
    ) throws(StatusError) {
        let name = current.key.name
        var metadata = object["metadata"] ?? .object([:])
        let meta = ObjectMeta(json: metadata)
        let old = ObjectMeta(json: current.object["metadata"] ?? .null)
        guard meta.name == name else {
            throw .badRequest("the name of the object (\(meta.name)) does not match the name on the URL (\(name))")
        }
        try place(&metadata, kind, namespace)
        if !meta.resourceVersion.isEmpty, meta.resourceVersion != String(current.revision) {
            throw .conflict(kind, name)
        }
        if !meta.uid.isEmpty, meta.uid != old.uid {
            throw .conflict(
                kind, name, "Precondition failed: UID in precondition: \(meta.uid), UID in object meta: \(old.uid)")
        }
        for field in ["managedFields", "selfLink", "resourceVersion"] { metadata[field] = nil }
        for field in [
            "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "generateName",
        ] { metadata[field] = old.json[field] }
        object["metadata"] = metadata
    }

    func check(_ problems: [FieldProblem], _ kind: ResourceKind, _ name: String) throws(StatusError) {
        if !problems.isEmpty { throw .invalid(kind, name, problems) }
    }

    /// Status, events, leases and slices are found out anew after a power failure; they need not wait for the disk.
    func durability(_ kind: ResourceKind, _ subresource: String) -> Durability {
        subresource == "status" || kind == .event || kind == .lease || kind == .endpointSlice ? .relaxed : .synced
    }

    func wrap<T>(
        _ kind: ResourceKind, _ name: String, _ body: () throws(StoreError) -> T
    ) throws(StatusError) -> T {
        do {
            return try body()
        } catch {
            throw status(error, kind, name)
        }
    }

    func randomSuffix() -> String {
        let letters = Array("bcdfghjklmnpqrstvwxz2456789")
        return String((0..<5).map { _ in letters[Int(random.next(upperBound: UInt64(letters.count)))] })
    }

    /// One of them, each as often as the others; nil of none.
    func oneOf<Element>(_ elements: [Element]) -> Element? {
        guard !elements.isEmpty else { return nil }
        return elements[Int(random.next(upperBound: UInt64(elements.count)))]
    }

    private func uuid() -> String {
        // RFC 9562 version 4.
        let high = random.next() & ~0xf000 | 0x4000
        let low = random.next() & ~(0b11 << 62) | 0b10 << 62
        func hex(_ value: UInt64, _ digits: Int) -> String {
            let text = String(value, radix: 16)
            return String(repeating: "0", count: max(0, digits - text.count)) + text
        }
        return [
            hex(high >> 32, 8), hex(high >> 16 & 0xffff, 4), hex(high & 0xffff, 4), hex(low >> 48, 4),
            hex(low & 0xffff_ffff_ffff, 12),
        ].joined(separator: "-")
    }
}
