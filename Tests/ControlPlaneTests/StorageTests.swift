import APIServer
import ControlPlane
import KubernetesAPI
import Serialization
import Testing

@Suite("Claims and volumes")
struct StorageTests {
    private static func set(_ replicas: Int, policy: String = "") -> String {
        """
        apiVersion: apps/v1
        kind: StatefulSet
        metadata: {name: web, namespace: default}
        spec:
          serviceName: web
          replicas: \(replicas)
          selector: {matchLabels: {app: web}}
          \(policy)
          template:
            metadata: {labels: {app: web}}
            spec: {containers: [{name: c, image: one, volumeMounts: [{name: data, mountPath: /data}]}]}
          volumeClaimTemplates:
            - metadata: {name: data, labels: {tier: db}}
              spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
        """
    }

    private static func claim(_ name: String, _ more: String = "", size: String = "1Gi") -> String {
        """
        apiVersion: v1
        kind: PersistentVolumeClaim
        metadata: {name: \(name), namespace: default}
        spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: \(size)}}\(more)}
        """
    }

    private static func volume(_ name: String, size: String = "1Gi", _ more: String = "") -> String {
        """
        apiVersion: v1
        kind: PersistentVolume
        metadata: {name: \(name)}
        spec: {capacity: {storage: \(size)}, accessModes: [ReadWriteOnce], hostPath: {path: /srv/\(name)}\(more)}
        """
    }

    private static func pod(_ name: String, claim: String) -> String {
        """
        apiVersion: v1
        kind: Pod
        metadata: {name: \(name), namespace: default}
        spec:
          containers: [{name: c, image: one, volumeMounts: [{name: v, mountPath: /v}]}]
          volumes: [{name: v, persistentVolumeClaim: {claimName: \(claim)}}]
        """
    }

    private func cluster() throws -> TestCluster {
        let cluster = try TestCluster()
        try cluster.apply(
            """
            apiVersion: v1
            kind: Node
            metadata: {name: node, labels: {kubernetes.io/hostname: node}}
            """)
        return cluster
    }

    private func steps(_ cluster: TestCluster) throws { for _ in 0..<8 { try cluster.nodeStep() } }

    private func phase(_ cluster: TestCluster, _ name: String) throws -> String {
        try cluster.object(.persistentVolumeClaim, name).status["phase"]?.string ?? ""
    }

    private func volumes(_ cluster: TestCluster) -> [KubernetesObject] { cluster.registry.list(.persistentVolume) }

    /// The node removes what it is to remove, and says so.
    private func reclaim(_ cluster: TestCluster) throws {
        for volume in volumes(cluster) where volume.status["phase"] == "Released" {
            _ = try cluster.registry.modify(.persistentVolume, "", volume.name) { json throws(StatusError) in
                var object = KubernetesObject(json: json)
                object.metadata.annotations["skein.dev/reclaimed"] = "true"
                return object.json
            }
        }
        cluster.settle()
    }

    @Test("each pod of a StatefulSet has a claim of its own, bound to a directory on its node, which outlives the pod")
    func ownClaims() throws {
        let cluster = try cluster()
        try cluster.apply(Self.set(2))
        try steps(cluster)
        let claims = cluster.registry.list(.persistentVolumeClaim, namespace: "default")
        #expect(claims.map(\.name) == ["data-web-0", "data-web-1"])
        let claim = try cluster.object(.persistentVolumeClaim, "data-web-0")
        #expect(claim.metadata.labels == ["app": "web", "tier": "db"])
        #expect(claim.spec["storageClassName"] == "skein-local" && claim.metadata.ownerReferences.isEmpty)
        #expect(claim.status == ["phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": ["storage": "1Gi"]])
        let pod = try cluster.object(.pod, "web-0")
        #expect(
            pod.spec["volumes"]?[0]
                == ["name": "data", "persistentVolumeClaim": ["claimName": "data-web-0"]])
        let volume = try cluster.registry.get(.persistentVolume, "", claim.spec["volumeName"]?.string ?? "")
        #expect(volume.name == "pvc-\(claim.metadata.uid)" && volume.status["phase"] == "Bound")
        #expect(volume.spec["csi"] == ["driver": "local.skein.dev", "volumeHandle": .string(volume.name)])
        #expect(PersistentVolumeSpec(json: volume.spec).isReachable(fromNodeWith: ["kubernetes.io/hostname": "node"]))
        #expect(!PersistentVolumeSpec(json: volume.spec).isReachable(fromNodeWith: ["kubernetes.io/hostname": "other"]))
        try cluster.registry.delete(.pod, "default", "web-0")
        try steps(cluster)
        #expect(try cluster.object(.pod, "web-0").metadata.uid != pod.metadata.uid)
        #expect(try cluster.object(.persistentVolumeClaim, "data-web-0").metadata.uid == claim.metadata.uid)
        #expect(volumes(cluster).count == 2)
    }

    @Test("fewer replicas, and no set at all, leave the claims as they are unless the policy says Delete")
    func retention() throws {
        let cluster = try cluster()
        try cluster.apply(Self.set(2))
        try steps(cluster)
        try cluster.apply(Self.set(1))
        try steps(cluster)
        #expect(try phase(cluster, "data-web-1") == "Bound")
        let kept = try cluster.object(.persistentVolumeClaim, "data-web-1").metadata.uid
        try cluster.apply(Self.set(2))
        try steps(cluster)
        #expect(try cluster.object(.persistentVolumeClaim, "data-web-1").metadata.uid == kept)

        let policy = "persistentVolumeClaimRetentionPolicy: {whenScaled: Delete}"
        try cluster.apply(Self.set(2, policy: policy))
        try steps(cluster)
        #expect(try cluster.object(.persistentVolumeClaim, "data-web-1").metadata.ownerReferences.isEmpty)
        try cluster.apply(Self.set(1, policy: policy))
        try steps(cluster)
        #expect(!cluster.has(.persistentVolumeClaim, "data-web-1") && cluster.has(.persistentVolumeClaim, "data-web-0"))
        try reclaim(cluster)
        #expect(volumes(cluster).count == 1)

        try cluster.apply(Self.set(1, policy: "persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete}"))
        let owners = try cluster.object(.persistentVolumeClaim, "data-web-0").metadata.ownerReferences
        #expect(owners.map(\.kind) == ["StatefulSet"])
        try cluster.registry.delete(.statefulSet, "default", "web")
        try steps(cluster)
        #expect(!cluster.has(.persistentVolumeClaim, "data-web-0"))
        try reclaim(cluster)
        #expect(volumes(cluster).isEmpty)
    }

    @Test("a claim waits for its first pod, is held while a pod uses it, and its directory goes before its volume does")
    func life() throws {
        let cluster = try cluster()
        try cluster.apply(Self.claim("c"))
        #expect(try phase(cluster, "c") == "Pending" && volumes(cluster).isEmpty)
        #expect(cluster.reasons("c").contains("WaitForFirstConsumer"))
        try cluster.apply(Self.pod("p", claim: "c"))
        #expect(try phase(cluster, "c") == "Bound")
        #expect(cluster.reasons("c").contains("ProvisioningSucceeded"))
        try cluster.registry.delete(.persistentVolumeClaim, "default", "c")
        cluster.settle()
        #expect(try cluster.object(.persistentVolumeClaim, "c").metadata.deletionTimestamp != nil)
        try cluster.registry.delete(.pod, "default", "p")
        try steps(cluster)
        #expect(!cluster.has(.persistentVolumeClaim, "c"))
        #expect(volumes(cluster).map { $0.status["phase"] } == ["Released"])
        // Also who deletes the volume by hand does not take it from under its node.
        try cluster.registry.delete(.persistentVolume, "", volumes(cluster)[0].name)
        cluster.settle()
        #expect(volumes(cluster).count == 1)
        try reclaim(cluster)
        #expect(volumes(cluster).isEmpty)
    }

    @Test("what a claim cannot have is said: another's provisioner, no class, access by many, a missing class")
    func refusals() throws {
        let cluster = try cluster()
        try cluster.apply(
            """
            apiVersion: storage.k8s.io/v1
            kind: StorageClass
            metadata: {name: foreign}
            provisioner: example.com/disk
            """)
        try cluster.apply(Self.claim("a", ", storageClassName: foreign"))
        try cluster.apply(Self.claim("b", ", storageClassName: \"\""))
        try cluster.apply(Self.claim("d", ", storageClassName: missing"))
        try cluster.apply(Self.claim("e").replacing("ReadWriteOnce", with: "ReadWriteMany"))
        for name in ["a", "b", "d", "e"] { try cluster.apply(Self.pod("p\(name)", claim: name)) }
        #expect(cluster.reasons("a") == ["ExternalProvisioning"])
        #expect(cluster.reasons("b") == ["FailedBinding"])
        #expect(Set(cluster.reasons("d")) == ["ProvisioningFailed"])
        #expect(cluster.reasons("e").contains("ProvisioningFailed") && volumes(cluster).isEmpty)
        for name in ["a", "b", "d", "e"] { #expect(try phase(cluster, name) == "Pending") }
        // The class comes later.
        try cluster.apply(
            """
            apiVersion: storage.k8s.io/v1
            kind: StorageClass
            metadata: {name: missing}
            provisioner: skein.dev/local
            """)
        #expect(try phase(cluster, "d") == "Bound")
    }

    @Test("volumes made by hand: the smallest that will do, each for one claim, and what was kept is not given away")
    func byHand() throws {
        let cluster = try cluster()
        try cluster.apply(Self.volume("large", size: "10Gi"))
        try cluster.apply(Self.volume("small", size: "2Gi"))
        try cluster.apply(Self.volume("reserved", size: "5Gi", ", claimRef: {namespace: default, name: mine}"))
        try cluster.apply(Self.claim("one", ", storageClassName: \"\""))
        try cluster.apply(Self.claim("two", ", storageClassName: \"\""))
        try cluster.apply(Self.claim("three", ", storageClassName: \"\""))
        try cluster.apply(Self.claim("mine", ", storageClassName: \"\""))
        func name(_ claim: String) throws -> String? {
            try cluster.object(.persistentVolumeClaim, claim).spec["volumeName"]?.string
        }
        #expect(try name("one") == "small" && name("two") == "large" && name("mine") == "reserved")
        #expect(try phase(cluster, "three") == "Pending")
        try cluster.registry.delete(.persistentVolumeClaim, "default", "one")
        cluster.settle()
        #expect(try cluster.registry.get(.persistentVolume, "", "small").status["phase"] == "Released")
        #expect(try phase(cluster, "three") == "Pending")
        try cluster.registry.delete(.persistentVolume, "", "large")
        cluster.settle()
        #expect(try cluster.registry.get(.persistentVolume, "", "large").metadata.deletionTimestamp != nil)
    }

    @Test("the bounds of claims and volumes, in Kubernetes' words")
    func validation() throws {
        func problems(_ yaml: String, _ kind: ResourceKind) throws -> [String] {
            let json = try #require(try YAML.parse(yaml, file: "t").first).json
            let object = KubernetesObject(json: SchemaTable.standard.applyDefaults(to: json, of: kind))
            return Validator.problems(of: object, kind: kind).map(\.description)
        }
        #expect(try problems(Self.claim("c"), .persistentVolumeClaim).isEmpty)
        #expect(
            try problems(
                "metadata: {name: c}\nspec: {accessModes: [Often], dataSource: {kind: PersistentVolumeClaim, name: x}}",
                .persistentVolumeClaim) == [
                    "spec.accessModes: Unsupported value: \"Often\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
                    "spec.resources[storage]: Required value",
                ])
        #expect(
            try problems(Self.claim("c", ", dataSource: {kind: V, name: x}", size: "0"), .persistentVolumeClaim).map {
                $0.prefix(40)
            }
                == [
                    "spec.resources.requests[storage]: Invali", "spec.dataSource: Forbidden: this server c",
                ].map { $0.prefix(40) })
        #expect(
            try problems("metadata: {name: v}\nspec: {capacity: {storage: 1Gi}}", .persistentVolume) == [
                "spec.accessModes: Required value", "spec: Required value: must specify a volume type",
            ])
        #expect(
            try problems(Self.set(1).replacing("name: data, labels", with: "labels"), .statefulSet).contains(
                "spec.volumeClaimTemplates[0].metadata.name: Required value"))
        #expect(try problems(Self.set(1), .statefulSet).isEmpty)
        let cluster = try cluster()
        try cluster.apply(Self.claim("c"))
        #expect(throws: StatusError.self) { try cluster.apply(Self.claim("c", size: "2Gi")) }
        let table = cluster.registry.list(.storageClass).map(\.json)
        #expect(
            table.map { $0["reclaimPolicy"] } == ["Delete"] && table[0]["volumeBindingMode"] == "WaitForFirstConsumer")
    }
}
