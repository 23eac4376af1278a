import KubernetesAPI
import Serialization
import Store

/// A watch as one client sees it: lines of events, each to be sent at once.
///
/// Loop-owned. The transport sets `wake`, and then sends what `next()` returns until that is `nil`.
public final class WatchStream {
    /// What a client asked for.
    struct Wish {
        var kind: ResourceKind
        var version: String
        var namespace: String?
        var selection: Selection
        var form: ObjectForm
        var columns: [TableColumn]
        var wantsBookmarks: Bool
        /// Whether its columns are compiled in: then watches of one kind show a change alike, and its text is made once.
        var sharesText: Bool
    }

    private let registry: ObjectRegistry
    private let wish: Wish
    private var pending: [[UInt8]] = []
    /// The present state, as far as it is not sent yet.
    private var initial: ArraySlice<StoredObject> = []
    /// Sent when the present state is.
    private var initialEnd: [UInt8]?
    /// So much of the present state is written in one piece.
    private static let initialBytes = 128 * 1024
    private var watch: StoreWatch?
    /// Why there is nothing to watch: the only event.
    private var refusal: StatusError?
    private var isOver = false
    private var columnsSent = false
    /// Called when there is something to send.
    public var wake: () -> Void = {}
    /// After how long the server ends the watch; the client then goes on from its last resource version.
    public let lifetime: Duration
    /// How often an idle watch says how far it is.
    public static let bookmarkInterval = Duration.seconds(60)

    /// `from` nil: the present state first.
    init(
        _ registry: ObjectRegistry, _ wish: Wish, from: Revision?, endsInitialEvents: Bool, lifetime: Duration
    ) throws(StatusError) {
        self.registry = registry
        self.wish = wish
        self.lifetime = lifetime
        let revision = from ?? registry.store.revision
        if from == nil {
            initial = registry.store.list(wish.kind.storeResource, namespace: wish.namespace)[...]
            if endsInitialEvents { initialEnd = bookmark(revision, isInitialEnd: true) }
        }
        do throws(StatusError) {
            watch = try registry.watch(wish.kind, from: revision) { [weak self] in self?.wake() }
        } catch  where error.code == 410 {
            // As in Kubernetes: what is wrong with a watch that is understood and allowed is an event.
            refusal = error
        }
    }

    deinit { watch?.cancel() }

    /// Whether `next` has more at once: the present state is written in pieces.
    public var hasMore: Bool { !initial.isEmpty || initialEnd != nil }

    /// What is to be sent now, perhaps nothing; `nil` when the watch is over.
    public func next() -> [UInt8]? {
        guard !isOver else { return nil }
        if let refusal {
            isOver = true
            return text(refusal)
        }
        if hasMore { return nextInitial() }
        for change in watch?.take() ?? [] {
            guard wish.namespace == nil || wish.namespace == change.object.key.namespace else { continue }
            let matches = wish.selection.matches(change.object.object)
            let matched = change.previous.map(wish.selection.matches) ?? false
            switch (change.kind, matched, matches) {
            case (.deleted, true, _): pending.append(event("DELETED", change.object))
            case (.deleted, false, _), (_, false, false): break
            case (_, false, true): pending.append(event("ADDED", change.object))
            case (_, true, true): pending.append(event("MODIFIED", change.object))
            case (_, true, false): pending.append(event("DELETED", change.object))
            }
        }
        if watch?.isLost == true {
            isOver = true
            pending.append(text(.expired("the watch fell too far behind: list again")))
        }
        defer { pending = [] }
        if pending.count == 1 { return pending[0] }
        return Array(pending.joined())
    }

    private func nextInitial() -> [UInt8] {
        var bytes: [UInt8] = []
        while let stored = initial.popFirst() {
            guard wish.selection.matches(stored.object) else { continue }
            bytes += event("ADDED", stored, isInitial: true)
            if bytes.count >= Self.initialBytes { return bytes }
        }
        initial = []
        if let initialEnd { bytes += initialEnd }
        initialEnd = nil
        return bytes
    }

    /// A line that tells an idle client how far the server is; empty for those who did not ask.
    public func bookmark() -> [UInt8] {
        wish.wantsBookmarks ? bookmark(registry.store.settledRevision, isInitialEnd: false) : []
    }

    /// Ends the watch.
    public func cancel() {
        isOver = true
        watch?.cancel()
        initial = []
    }

    private func event(_ type: String, _ stored: StoredObject, isInitial: Bool = false) -> [UInt8] {
        defer { columnsSent = true }
        let now = registry.now()
        // The present state is everybody's own: it may be of long ago.
        guard wish.sharesText, !isInitial else { return text(type, stored, now) }
        var place = WatchTexts.Place(
            type: type, revision: stored.revision, group: wish.kind.group, version: wish.version, form: wish.form)
        if case .table = wish.form {
            // Ages are of the second in which they are written.
            place.seconds = now.seconds
            place.withColumns = !columnsSent
        }
        return registry.watchTexts.text(at: place) { text(type, stored, now) }
    }

    private func text(_ error: StatusError) -> [UInt8] {
        (["type": "ERROR", "object": error.json] as JSON).bytes + [0x0a]
    }

    private func text(_ type: String, _ stored: StoredObject, _ now: Timestamp) -> [UInt8] {
        let object = registry.shown(stored, wish.kind, version: wish.version)
        let event: JSON = [
            "type": .string(type),
            "object": wish.form.one(object, columns: wish.columns, now: now, withColumns: !columnsSent),
        ]
        return event.bytes + [0x0a]
    }

    private func bookmark(_ revision: Revision, isInitialEnd: Bool) -> [UInt8] {
        var metadata: JSON = ["resourceVersion": .string(String(revision)), "creationTimestamp": .null]
        if isInitialEnd { metadata["annotations"] = ["k8s.io/initial-events-end": "true"] }
        var object: JSON = [
            "kind": .string(wish.kind.kind), "apiVersion": .string(wish.kind.apiVersion(wish.version)),
            "metadata": metadata,
        ]
        if case .table(let version, _) = wish.form {
            object = [
                "kind": "Table", "apiVersion": .string("meta.k8s.io/" + version),
                "metadata": ["resourceVersion": .string(String(revision))],
                "rows": [
                    [
                        "cells": [],
                        "object": [
                            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                        ],
                    ]
                ],
            ]
        }
        return (["type": "BOOKMARK", "object": object] as JSON).bytes + [0x0a]
    }
}
