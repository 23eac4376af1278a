internal import IO
internal import KubernetesAPI
internal import Serialization

/// A Secret or ConfigMap that pods of this node use.
struct FollowedReference: Hashable {
    var namespace: String
    var reference: PodReference

    /// Where it is mirrored.
    var mirrored: ObjectMirror.Kind { reference.kind == .secret ? .secret : .configMap }

    /// The list that holds this object alone: names need no escaping.
    var path: String {
        "/api/v1/namespaces/\(namespace)/\(reference.kind.plural)?fieldSelector=metadata.name=\(reference.name)"
    }
}

// What pods of a joined node refer to is followed object by object: its API server shows it nothing else.
extension NodeAgent {
    /// Whether Secrets and ConfigMaps are followed one by one.
    ///
    /// Beside the API server the agent is root, and follows all at once.
    var followsByName: Bool { configuration.controlPlane != nil || configuration.followsReferencesByName }

    /// Follows what pods use now, and no longer what none uses any more.
    func followReferences() {
        guard followsByName, !isStopping else { return }
        var wanted: Set<FollowedReference> = []
        for record in records.values where !record.isRemoved { wanted.formUnion(references(of: record)) }
        for (key, task) in followed where !wanted.contains(key) {
            task.cancel()
            followed[key] = nil
            knownReferences.remove(key)
            mirror.remove(key.mirrored, ["metadata": metadata(key)])
        }
        for key in wanted where followed[key] == nil {
            followed[key] = Task(executorPreference: loop) { [weak self] in await self?.followReference(key) }
        }
    }

    /// Names that could not be an object's are nobody's: a pod that has one waits with a missing object.
    private func references(of record: PodRecord) -> [FollowedReference] {
        PodSpec(json: record.object.spec).references.filter { PodManifest.isPlain($0.name) }
            .map { FollowedReference(namespace: record.pod.namespace, reference: $0) }
    }

    private func metadata(_ key: FollowedReference) -> JSON {
        ["namespace": .string(key.namespace), "name": .string(key.reference.name)]
    }

    private func followReference(_ key: FollowedReference) async {
        let version = await listUntilItWorks(key.path) { $0.found(key, $1) }
        await follow(key.path, from: version, replace: { $0.found(key, $1) }) { agent, type, object in
            agent.found(key, type == "DELETED" ? [] : [object])
        }
    }

    private func found(_ key: FollowedReference, _ items: [JSON]) {
        // Nobody wants it any more.
        guard followed[key] != nil else { return }
        if let object = items.first {
            mirror.set(key.mirrored, object)
        } else {
            mirror.remove(key.mirrored, ["metadata": metadata(key)])
        }
        knownReferences.insert(key)
        refreshVolumes(namespace: key.namespace)
    }

    /// Returns when it is known of everything that the pod uses whether it is there.
    func awaitReferences(_ record: PodRecord) async {
        guard followsByName else { return }
        let wanted = references(of: record)
        while !record.isRemoved, !isStopping, !wanted.allSatisfy(knownReferences.contains) {
            await loop.sleep(for: .milliseconds(5))
        }
    }
}
