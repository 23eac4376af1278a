import IO
import KubernetesAPI
import Mesh
import Proxy
import Serialization
import Testing

@Suite("Recorded requests under another configuration")
struct RequestDifferencesTests {
    private static let base =
        World.pod("caller", "caller", ip: 100) + World.service("web", ip: 1) + World.pod("web-1", "web", ip: 11)
        + World.service("other", ip: 2) + World.pod("other-1", "other", ip: 12)
    private static let proxy = ProxyIdentity(pod: NamespacedName(namespace: "default", name: "caller"), role: .sidecar)
    private static let arrival = ProxyIdentity(pod: NamespacedName(namespace: "default", name: "web-1"), role: .sidecar)

    private func outbound(_ path: String = "/", host: String = "web", headers: [(String, String)] = []) -> JSON {
        [
            "listener": "0.0.0.0_15001", "source": "10.244.0.100:40000", "destination": "10.96.0.1:80",
            "method": "GET", "authority": .string(host), "path": .string(path), "protocol": "HTTP/1.1",
            "headers": .array(headers.map { [.string($0.0), .string($0.1)] }),
        ]
    }

    private var inbound: JSON {
        [
            "listener": "0.0.0.0_15006", "source": "10.244.0.100:40000", "destination": "10.244.0.11:8080",
            "method": "GET", "authority": "web", "path": "/x", "protocol": "HTTP/1.1", "tls": true,
            "alpn": "istio-http/1.1,istio,http/1.1", "principal": "spiffe://cluster.local/ns/default/sa/default",
            "headers": [],
        ]
    }

    private func objects(_ yaml: String) throws -> [KubernetesObject] {
        try YAML.parse(yaml, file: "test").filter { !$0.json.isNull }.map { KubernetesObject(json: $0.json) }
    }

    /// What a change does to requests of a proxy.
    private func compare(
        _ old: String, _ new: String, _ requests: [JSON], _ proxy: ProxyIdentity = proxy
    ) throws -> RequestDifferences {
        var differences = RequestDifferences()
        var pair = ConfigurationPair(try objects(Self.base + old), changed: try objects(new))
        guard let (before, after) = pair.resources(of: proxy) else {
            differences.addSame(requests.count)
            return differences
        }
        let place = "/tmp/skein-differences-\(Environment.processID)-\(UInt64.random(in: 0 ... .max))"
        try File.makeDirectory(place)
        defer { try? File.removeTree(place) }
        try File.write(place + "/old", before)
        try File.write(place + "/new", after)
        try File.write(place + "/requests", Array(requests.map { $0.text + "\n" }.joined().utf8))
        let command = try ExplainCommand(
            arguments: [
                "--requests", place + "/requests", "--resources", place + "/old", "--resources", place + "/new",
            ])
        var (text, problem) = ("", "")
        #expect(command.run(out: { text += $0 }, error: { problem += $0 }) == 0, "\(problem)")
        let answers = try text.split(separator: "\n").map { try JSON.parse(String($0)) }
        #expect(answers.count == requests.count)
        for (request, answer) in zip(requests, answers) {
            differences.add(answer, request: request, pod: "\(proxy.pod)")
        }
        return differences
    }

    private static func rule(_ http: String) -> String { World.rule("r", "hosts: [web]\nhttp:\n\(http)") }

    @Test("what stays the same is no difference: nothing, an object elsewhere, a rule that moved")
    func same() throws {
        #expect(try compare("", "", [outbound()]).differing == 0)
        let elsewhere = try compare("", World.service("third", ip: 3), [outbound(), outbound("/a")])
        #expect(elsewhere.differing == 0 && elsewhere.compared == 2)
        let moved = try compare(
            Self.rule("- {route: [{destination: {host: web}}]}"),
            Self.rule(
                "- {match: [{uri: {prefix: /never}}], route: [{destination: {host: other}}]}\n- {route: [{destination: {host: web}}]}"
            ), [outbound()])
        #expect(moved.differing == 0, "\(moved.groups.map(\.kinds))")
    }

    @Test("destination, weights, timeouts, retries, redirects, faults and mirrors are told apart")
    func kinds() throws {
        let route = "route: [{destination: {host: web}}]"
        func kinds(_ new: String, old: String? = nil) throws -> [String] {
            let result = try compare(Self.rule("- {\(old ?? route)}"), Self.rule("- {\(new)}"), [outbound()])
            return result.groups.flatMap(\.kinds)
        }
        #expect(try kinds("route: [{destination: {host: other}}]") == ["destination"])
        let split = "route: [{destination: {host: web}, weight: 90}, {destination: {host: other}, weight: 10}]"
        #expect(
            try kinds(split.replacing("90", with: "50").replacing("10", with: "50"), old: split) == ["weights"])
        #expect(try kinds("timeout: 1s, \(route)") == ["timeouts"])
        #expect(try kinds("retries: {attempts: 7, retryOn: '503'}, \(route)").contains("retries"))
        #expect(try kinds("redirect: {uri: /new}").contains("redirect"))
        #expect(try kinds("directResponse: {status: 418}").contains("direct response"))
        #expect(
            try kinds("fault: {delay: {fixedDelay: 1s, percentage: {value: 100}}}, \(route)").contains(
                "fault and filters"))
        #expect(try kinds("mirror: {host: other}, \(route)") == ["mirrors"])
    }

    @Test("a policy's verdict shows where the request arrives, with both explanations")
    func policy() throws {
        let deny = """
            ---
            apiVersion: security.istio.io/v1
            kind: AuthorizationPolicy
            metadata: {name: deny, namespace: default}
            spec: {action: DENY, rules: [{to: [{operation: {paths: [/x]}}]}]}
            """
        let result = try compare("", deny, [inbound, outbound()], Self.arrival)
        #expect(result.groups.first?.kinds == ["answer", "policy"], "\(result.groups.map(\.kinds)) \(result.unread)")
        #expect(result.groups.first?.example.new.details.contains("rbac_access_denied") == true)
        let text = result.text(old: { _ in nil }, new: { _ in "deny.yaml:5" })
        #expect(text.contains("answer, policy: 1 of inbound|http|8080"), "\(text)")
    }

    @Test("endpoints and cluster settings are compared, of the clusters that requests go to")
    func clusters() throws {
        let settings = try compare(
            "", World.policy("d", "host: web\ntrafficPolicy: {connectionPool: {tcp: {maxConnections: 7}}}"),
            [outbound(), outbound(host: "other")])
        #expect(settings.groups.map(\.kinds) == [["cluster settings"]] && settings.differing == 1)
        let endpoints = try compare("", World.pod("web-2", "web", ip: 13), [outbound()])
        #expect(endpoints.groups.map(\.kinds) == [["endpoints"]])
    }

    @Test("a header that only the new configuration looks at was not recorded, and that is said")
    func notRecorded() throws {
        let result = try compare(
            "",
            Self.rule(
                "- {match: [{headers: {x-tenant: {exact: a}}}], route: [{destination: {host: other}}]}\n- {route: [{destination: {host: web}}]}"
            ), [outbound()])
        #expect(result.inexact == ["header x-tenant": 1])
        #expect(
            result.text(old: { _ in nil }, new: { _ in nil }).contains(
                "not exactly told for 1 requests: header x-tenant"))
    }

    @Test("requests are grouped and counted, and what cannot be read is told with its reason")
    func groups() throws {
        let old = Self.rule("- {route: [{destination: {host: web}}]}")
        let new = Self.rule("- {timeout: 1s, route: [{destination: {host: web}}]}")
        var broken = outbound()
        broken["destination"] = "nowhere"
        let result = try compare(old, new, [outbound("/a"), outbound("/b"), broken])
        #expect(result.groups.map(\.count) == [2] && result.compared == 2 && result.unread.count == 1)
        #expect(result.json(old: { _ in nil }, new: { _ in nil })["differing"]?.int == 2)
    }
}
