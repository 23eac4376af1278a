import KubernetesAPI
import Serialization
import Testing

@Suite("Storage, checked")
struct StorageValidationTests {
    private func problems(_ yaml: String, _ kind: ResourceKind) throws -> [String] {
        let json = try #require(try YAML.parse(yaml, file: "storage.yaml").first?.json)
        let filled = SchemaTable.standard.applyDefaults(to: json, of: kind)
        return Validator.problems(of: KubernetesObject(json: filled), kind: kind).map(\.description)
    }

    @Test(
        "what a class of directories cannot have is refused, and kept for somebody else's provisioner",
        arguments: [
            ("parameters: {type: fast}", "parameters"), ("mountOptions: [noatime]", "mountOptions"),
            ("allowVolumeExpansion: true", "allowVolumeExpansion"),
            ("allowedTopologies: [{matchLabelExpressions: []}]", "allowedTopologies"),
        ])
    func classes(field: String, path: String) throws {
        func found(_ provisioner: String) throws -> [String] {
            try problems("{metadata: {name: c}, provisioner: \(provisioner), \(field)}", .storageClass)
        }
        let own = try found("skein.dev/local")
        #expect(own.count == 1 && own[0].hasPrefix("\(path): Forbidden: "), "\(own)")
        #expect(try found("example.com/disk").isEmpty)
    }

    @Test("options of a mount are refused where nothing is mounted with them")
    func mountOptions() throws {
        func found(_ source: String, _ options: String = ", mountOptions: [noatime]") throws -> [String] {
            try problems(
                """
                metadata: {name: v}
                spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], \(source)\(options)}
                """, .persistentVolume)
        }
        #expect(
            try found("hostPath: {path: /data}") == [
                "spec.mountOptions: Forbidden: a directory of a node is mounted as it is"
            ])
        #expect(try found("hostPath: {path: /data}", "").isEmpty)
        #expect(try found("nfs: {server: a, path: /}").isEmpty)
    }
}
