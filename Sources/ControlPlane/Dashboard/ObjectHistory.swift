import KubernetesAPI
import Mesh
import Serialization

/// How the objects of the mesh were before: what this control plane has seen of them since it started, within bounds.
///
/// The store itself keeps changes for watchers only (five minutes, 10,000 changes) and none of the API of somebody else's cluster; this is the same for both. Statuses
/// are no revisions, and values that may be secret are covered before they are kept (`ShownConfiguration`). Pure: time comes as an argument.
struct ObjectHistory {
    /// How much is kept.
    struct Limits {
        /// Revisions of one object; the oldest go first.
        var perObject = 20
        /// Of all objects.
        var revisions = 10_000
        /// Bytes of all of them, about.
        var bytes = 16 << 20
    }

    struct Key: Hashable, Comparable {
        var kind: String
        var name: NamespacedName

        static func < (left: Self, right: Self) -> Bool { (left.kind, left.name) < (right.kind, right.name) }
    }

    /// One form of an object.
    struct Revision {
        /// The store's number for it.
        var number: Int64
        var generation: Int64
        /// When we saw it; milliseconds since 1970.
        var time: Int64
        /// nil: it was deleted.
        var content: JSON?
        /// Whether it was there when we started: then it is older than its time.
        var isFirst: Bool
        var bytes: Int
    }

    private let limits: Limits
    private var revisions: [Key: [Revision]] = [:]
    /// What came, in its order; an object's oldest revision goes each time that its key comes up.
    private var line: [Key] = []
    private var lineStart = 0
    private(set) var count = 0
    private(set) var bytes = 0
    /// Revisions that went to make room.
    private(set) var evicted: UInt64 = 0

    init(_ limits: Limits = Limits()) { self.limits = limits }

    /// Takes what a feed tells.
    ///
    /// - Parameters:
    ///   - now: milliseconds since 1970.
    ///   - isFirst: it is the first that was told.
    mutating func take(_ change: FeedChange, _ kind: String, at now: Int64, isFirst: Bool = false) {
        switch change {
        case .set(let object): add(object, kind, now, isFirst)
        case .deleted(let object): remove(key(object, kind), object, now)
        case .replaced(let objects):
            let present = Set(objects.map { key($0, kind) })
            for object in objects { add(object, kind, now, isFirst) }
            for known in revisions.keys where known.kind == kind && !present.contains(known) {
                remove(known, nil, now)
            }
        }
    }

    private func key(_ object: KubernetesObject, _ kind: String) -> Key {
        Key(kind: kind, name: NamespacedName(namespace: object.namespace, name: object.name))
    }

    private static func number(_ object: KubernetesObject?) -> Int64 {
        Int64(object?.metadata.json["resourceVersion"]?.string ?? "") ?? 0
    }

    private mutating func add(_ object: KubernetesObject, _ kind: String, _ now: Int64, _ isFirst: Bool) {
        let content = ShownConfiguration.of(object.json)
        let key = key(object, kind)
        if let last = revisions[key]?.last, last.content == content { return }
        append(
            Revision(
                number: Self.number(object), generation: Int64(object.metadata.generation), time: now,
                content: content, isFirst: isFirst, bytes: content.bytes.count * 2 + 256), key)
    }

    private mutating func remove(_ key: Key, _ object: KubernetesObject?, _ now: Int64) {
        guard let last = revisions[key]?.last, last.content != nil else { return }
        append(
            Revision(
                number: Self.number(object), generation: last.generation, time: now, content: nil, isFirst: false,
                bytes: 256), key)
    }

    private mutating func append(_ revision: Revision, _ key: Key) {
        revisions[key, default: []].append(revision)
        line.append(key)
        count += 1
        bytes += revision.bytes
        if (revisions[key]?.count ?? 0) > limits.perObject { dropOldest(of: key) }
        while count > limits.revisions || bytes > limits.bytes, lineStart < line.count {
            let oldest = line[lineStart]
            lineStart += 1
            // What went before already has its place in the line still.
            dropOldest(of: oldest)
        }
        if lineStart > 1024, lineStart * 2 > line.count {
            line.removeFirst(lineStart)
            lineStart = 0
        }
        // Places of what went by `perObject` are made up for.
        if line.count - lineStart > 4 * max(count, 1024) {
            line = revisions.flatMap { key, all in all.map { ($0.time, key) } }.sorted { $0.0 < $1.0 }.map(\.1)
            lineStart = 0
        }
    }

    private mutating func dropOldest(of key: Key) {
        guard var all = revisions[key], let oldest = all.first else { return }
        all.removeFirst()
        revisions[key] = all.isEmpty ? nil : all
        count -= 1
        bytes -= oldest.bytes
        evicted += 1
    }

    // MARK: Showing

    /// The revisions of an object, the oldest first.
    func revisions(of key: Key) -> [Revision] { revisions[key] ?? [] }

    /// The revisions of an object, and what differs between two of them: those of these numbers, or the last two.
    func json(_ key: Key, from: Int64?, to: Int64?) -> JSON {
        let all = revisions(of: key)
        let last = to.flatMap { number in all.lastIndex { $0.number == number } } ?? all.indices.last
        let first =
            from.flatMap { number in all.lastIndex { $0.number == number } }
            ?? last.flatMap { $0 > 0 ? $0 - 1 : nil }
        let lines: [ConfigurationDiff.Line]
        if let first, let last {
            lines = ConfigurationDiff.lines(all[first].content, all[last].content)
        } else {
            lines = []
        }
        return [
            "kind": .string(key.kind), "namespace": .string(key.name.namespace), "name": .string(key.name.name),
            "revisions": .array(all.map(Self.json)),
            "from": first.map { .integer(all[$0].number) } ?? .null,
            "to": last.map { .integer(all[$0].number) } ?? .null,
            "differences": .array(lines.map(\.json)),
        ]
    }

    private static func json(_ revision: Revision) -> JSON {
        [
            "revision": .integer(revision.number), "generation": .integer(revision.generation),
            "time": .number(Double(revision.time) / 1000),
            "what": .string(revision.content == nil ? "deleted" : revision.isFirst ? "found" : "written"),
        ]
    }

    /// What changed last, the newest first: no revision that was there at the start.
    func latest(_ most: Int) -> JSON {
        let changes = revisions.flatMap { key, all in
            all.enumerated().compactMap { index, revision -> (Key, Revision, Int)? in
                guard !revision.isFirst else { return nil }
                let before = index > 0 ? all[index - 1].content : nil
                return (key, revision, ConfigurationDiff.lines(before, revision.content).count)
            }
        }
        let sorted = changes.sorted { ($0.1.time, $0.1.number) > ($1.1.time, $1.1.number) }
        return [
            "changes": .array(
                sorted.prefix(most).map { key, revision, lines in
                    var json = Self.json(revision)
                    json["kind"] = .string(key.kind)
                    json["namespace"] = .string(key.name.namespace)
                    json["name"] = .string(key.name.name)
                    json["fields"] = .integer(Int64(lines))
                    return json
                }),
            "kept": .integer(Int64(count)), "bytes": .integer(Int64(bytes)),
            "evicted": .integer(Int64(clamping: evicted)),
        ]
    }
}

/// Follows the objects of the mesh, so that their history is there when somebody looks.
///
/// `@unchecked Sendable`: used on one loop.
final class HistoryKeeper: @unchecked Sendable {
    /// Changes that are listed.
    private static let latestMax = 200
    /// What changes by itself, what is not shown at all, and what is a namespace's own life.
    private static let unkept: Set<MeshObjects.Kind> = [.endpointSlice, .pod, .node, .secret, .namespace]

    private(set) var history = ObjectHistory()
    private var feeds: [(kind: String, feed: any ObjectFeed)] = []

    init(_ source: any ObjectSource, schedule: @escaping (@escaping () -> Void) -> Void, now: @escaping () -> Int64) {
        var isDue = false
        let wake: () -> Void = { [weak self] in
            guard !isDue else { return }
            isDue = true
            schedule {
                isDue = false
                self?.take(at: now())
            }
        }
        for kind in MeshObjects.Kind.allCases where !Self.unkept.contains(kind) {
            guard
                let resource = ResourceKinds.standard.all.first(where: {
                    $0.group == kind.group && $0.kind == kind.name
                }), let feed = try? source.follow(resource, wake: wake)
            else { continue }  // A cluster without these kinds has no objects of them.
            for change in feed.take() { history.take(change, kind.name, at: now(), isFirst: true) }
            feeds.append((kind.name, feed))
        }
    }

    deinit { feeds.forEach { $0.feed.cancel() } }

    private func take(at now: Int64) {
        for (kind, feed) in feeds { for change in feed.take() { history.take(change, kind, at: now) } }
    }

    /// The page `history`: of one object, or of all what changed last.
    func json(_ items: [(name: String, value: String)]) -> JSON {
        func first(_ name: String) -> String? { items.first { $0.name == name }?.value }
        guard let kind = first("kind"), let name = first("name") else { return history.latest(Self.latestMax) }
        let key = ObjectHistory.Key(
            kind: kind, name: NamespacedName(namespace: first("namespace") ?? "", name: name))
        return history.json(key, from: first("from").flatMap { Int64($0) }, to: first("to").flatMap { Int64($0) })
    }
}
