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
        var wantsBookmarks: Bool
    }

    private let registry: ObjectRegistry
    private let wish: Wish
    private var pending: [JSON] = []
    private var watch: StoreWatch?
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
            for stored in registry.store.list(wish.kind.storeResource, namespace: wish.namespace)
            where wish.selection.matches(stored.object) {
                pending.append(event("ADDED", stored))
            }
            if endsInitialEvents { pending.append(bookmark(revision, isInitialEnd: true)) }
        }
        watch = try registry.watch(wish.kind, from: revision) { [weak self] in self?.wake() }
    }

    deinit { watch?.cancel() }

    /// What is to be sent now, perhaps nothing; `nil` when the watch is over.
    public func next() -> [UInt8]? {
        guard !isOver else { return nil }
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
            pending.append([
                "type": "ERROR", "object": StatusError.expired("the watch fell too far behind: list again").json,
            ])
        }
        defer { pending = [] }
        return pending.flatMap { $0.bytes + [0x0a] }
    }

    /// A line that tells an idle client how far the server is; empty for those who did not ask.
    public func bookmark() -> [UInt8] {
        wish.wantsBookmarks ? bookmark(registry.store.revision, isInitialEnd: false).bytes + [0x0a] : []
    }

    /// Ends the watch.
    public func cancel() {
        isOver = true
        watch?.cancel()
    }

    private func event(_ type: String, _ stored: StoredObject) -> JSON {
        let object = registry.shown(stored, wish.kind, version: wish.version)
        defer { columnsSent = true }
        return [
            "type": .string(type),
            "object": wish.form.one(object, wish.kind, now: registry.now(), withColumns: !columnsSent),
        ]
    }

    private func bookmark(_ revision: Revision, isInitialEnd: Bool) -> JSON {
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
        return ["type": "BOOKMARK", "object": object]
    }
}
