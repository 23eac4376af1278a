import APIServer
import KubernetesAPI
import Serialization
import Testing

@testable import Store

/// Two servers over one store: what one writes comes to the other as etcd's watch would bring it.
@Suite("What another server over the same store has written")
struct OtherServerTests {
    private final class Pair {
        let writer: Fixture
        let reader: Fixture
        private var watches: [StoreWatch] = []

        init(_ resources: String...) throws {
            (writer, reader) = (try Fixture(), try Fixture())
            let store = writer.registry.store
            for resource in resources { watches.append(try store.watch(resource, from: store.revision) {}) }
        }

        /// The reader's store; its changes come in the order of their revisions.
        private var replica: ReplicaStore { get throws { try #require(reader.registry.store as? ReplicaStore) } }

        func carry() throws {
            let events = watches.flatMap { $0.take() }.sorted { $0.object.revision < $1.object.revision }
            for event in events { try replica.applyForeign(event) }
        }

        /// As after a time without etcd: everything anew instead of changes.
        func carryEverything(_ resources: [String]) throws {
            for watch in watches { _ = watch.take() }
            let store = writer.registry.store
            let objects = resources.flatMap { store.list($0, namespace: nil) }
            try replica.replaceAll(objects, revision: store.revision)
        }
    }

    private static let policyResources = ["roles", "rolebindings", "clusterroles", "clusterrolebindings"].map {
        "rbac.authorization.k8s.io/" + $0
    }

    private func permit(_ fixture: Fixture) throws {
        let path = AccessTests.rbac + "/namespaces/default/"
        let rules: JSON = [["apiGroups": [""], "resources": ["pods"], "verbs": ["list"]]]
        #expect(try fixture.ask("POST", path + "roles", ["metadata": ["name": "r"], "rules": rules]).status == 201)
        let binding: JSON = [
            "metadata": ["name": "r"],
            "roleRef": ["apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"],
            "subjects": [["kind": "User", "name": "jane"]],
        ]
        #expect(try fixture.ask("POST", path + "rolebindings", binding).status == 201)
    }

    @Test(
        "rights that are given and taken at one server are given and taken at the other, also when it reads everything anew"
    )
    func policy() throws {
        let pair = try Pair("rbac.authorization.k8s.io/roles", "rbac.authorization.k8s.io/rolebindings")
        let status = { try pair.reader.ask("GET", pods, user: AccessTests.jane).status }
        #expect(try status() == 403)
        try permit(pair.writer)
        try pair.carry()
        #expect(try status() == 200)
        let binding = AccessTests.rbac + "/namespaces/default/rolebindings/r"
        #expect(try pair.writer.ask("DELETE", binding).status == 200)
        try pair.carry()
        #expect(try status() == 403)
        #expect(try pair.writer.ask("DELETE", AccessTests.rbac + "/namespaces/default/roles/r").status == 200)
        try permit(pair.writer)
        try pair.carryEverything(Self.policyResources)
        #expect(try status() == 200)
    }

    @Test("a kind that is defined at one server is served by the other, with its defaults, until its definition goes")
    func definition() throws {
        let resource = "apiextensions.k8s.io/customresourcedefinitions"
        let pair = try Pair(resource, "stable.example.com/crontabs")
        #expect(try pair.reader.ask("GET", DefinitionTests.crontabs).status == 404)
        let made = try pair.writer.ask("POST", DefinitionTests.definitions, DefinitionTests.definition())
        #expect(made.status == 201, "\(made.message)")
        try pair.carry()
        #expect(try pair.reader.ask("GET", DefinitionTests.crontabs).status == 200)
        let job: JSON = [
            "apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": ["name": "a"],
            "spec": ["cron": "* * * * */5"],
        ]
        #expect(try pair.writer.ask("POST", DefinitionTests.crontabs, job).status == 201)
        try pair.carry()
        let read = try pair.reader.ask("GET", DefinitionTests.crontabs + "/a")
        #expect(read.json["spec"]?["replicas"] == 1, "the default was stored")
        let defaulted = try pair.reader.ask("POST", DefinitionTests.crontabs + "?dryRun=All", job)
        #expect(defaulted.status == 409, "it is there already: \(defaulted.message)")
        try pair.carryEverything([resource, "stable.example.com/crontabs"])
        #expect(try pair.reader.ask("GET", DefinitionTests.crontabs + "/a").status == 200)
        try pair.writer.ask("DELETE", DefinitionTests.crontabs + "/a")
        try pair.writer.ask("DELETE", DefinitionTests.definitions + "/crontabs.stable.example.com")
        try pair.carryEverything([resource])
        #expect(try pair.reader.ask("GET", DefinitionTests.crontabs).status == 404)
    }
}
