import KubernetesAPI
import Serialization
import Testing

@Suite("Network policies, checked")
struct PolicyValidationTests {
    private func problems(_ yaml: String, _ kind: ResourceKind) throws -> [String] {
        let json = try #require(try YAML.parse(yaml, file: "policy.yaml").first?.json)
        let filled = SchemaTable.standard.applyDefaults(to: json, of: kind)
        return Validator.problems(of: KubernetesObject(json: filled), kind: kind).map(\.description)
    }

    @Test("N-2 the types that a NetworkPolicy leaves out are filled in, and TCP with them")
    func defaults() throws {
        func spec(_ yaml: String) throws -> JSON? {
            let json = try #require(try YAML.parse(yaml, file: "policy.yaml").first?.json)
            return SchemaTable.standard.applyDefaults(to: json, of: .networkPolicy)["spec"]
        }
        #expect(try spec("spec: {podSelector: {}}")?["policyTypes"] == ["Ingress"])
        #expect(try spec("spec: {egress: []}")?["policyTypes"] == ["Ingress"])
        let both = try spec("spec: {egress: [{ports: [{port: 53}]}]}")
        #expect(both?["policyTypes"] == ["Ingress", "Egress"])
        #expect(both?["egress"]?[0]?["ports"]?[0]?["protocol"] == "TCP")
        #expect(try spec("spec: {policyTypes: [Egress]}")?["policyTypes"] == ["Egress"])
    }

    @Test(
        "N-6 N-7 what Kubernetes refuses of a NetworkPolicy is refused in its words",
        arguments: [
            ("ingress: [{from: [{}]}]", "spec.ingress[0].from[0]: Required value: must specify a peer"),
            (
                "ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}]",
                "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer"
            ),
            (
                "ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/33}}]}]",
                "spec.ingress[0].from[0].ipBlock.cidr: Invalid value: \"10.0.0.0/33\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
            ),
            (
                "egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]}]",
                "spec.egress[0].to[0].ipBlock.except[0]: Invalid value: \"10.0.0.0/8\": must be a strict subset of `cidr`"
            ),
            (
                "egress: [{to: [{ipBlock: {cidr: \"fd00::/8\", except: [\"fe80::/10\"]}}]}]",
                "spec.egress[0].to[0].ipBlock.except[0]: Invalid value: \"fe80::/10\": must be a strict subset of `cidr`"
            ),
            (
                "ingress: [{ports: [{port: http, endPort: 90}]}]",
                "spec.ingress[0].ports[0].endPort: Invalid value: 90: may not be specified when `port` is non-numeric"
            ),
            (
                "ingress: [{ports: [{port: 91, endPort: 90}]}]",
                "spec.ingress[0].ports[0].endPort: Invalid value: 90: must be greater than or equal to `port`"
            ),
            (
                "policyTypes: [Sideways]",
                "spec.policyTypes[0]: Unsupported value: \"Sideways\": supported values: \"Egress\", \"Ingress\""
            ),
            (
                "podSelector: {matchExpressions: [{key: a, operator: In}]}",
                "spec.podSelector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"
            ),
        ])
    func refused(_ spec: String, _ expected: String) throws {
        let yaml = "metadata: {name: a, namespace: b}\nspec: {\(spec)}"
        #expect(try problems(yaml, .networkPolicy) == [expected])
    }

    @Test("the administrator's policies: one peer each, a range that rises, the one name of the baseline")
    func admin() throws {
        func found(_ rule: String) throws -> [String] {
            try problems(
                "metadata: {name: a}\nspec: {priority: 5, subject: {namespaces: {}}, egress: [{action: Deny, \(rule)}]}",
                .adminNetworkPolicy)
        }
        #expect(try found("to: [{networks: [10.0.0.0/8]}], ports: [{portNumber: {protocol: TCP, port: 80}}]") == [])
        #expect(
            try found("to: [{nodes: {}}]") == [
                "spec.egress[0].to[0].nodes: Forbidden: is not enforced by Skein: choose by networks"
            ])
        #expect(try found("to: [{namespaces: {}, networks: [10.0.0.0/8]}]").count == 1)
        #expect(
            try found("to: [{namespaces: {}}], ports: [{portRange: {protocol: TCP, start: 9, end: 8}}]").count == 1)
        #expect(
            try problems("metadata: {name: other}\nspec: {subject: {namespaces: {}}}", .baselineAdminNetworkPolicy) == [
                "metadata.name: Invalid value: \"other\": the only name is 'default': there is one baseline"
            ])
    }
}
