import IO
import Testing

@testable import Network

/// Every rule with packets between pods, over IPv4 and IPv6 alike.
@Suite("Network policies")
struct PolicyTests {
    /// A NetworkPolicy in `shop` for `app: web`, with the rest of its spec.
    private static func web(_ spec: String, name: String = "web") -> String {
        """
        apiVersion: networking.k8s.io/v1
        kind: NetworkPolicy
        metadata: {name: \(name), namespace: shop}
        spec:
          podSelector: {matchLabels: {app: web}}
        \(spec.split(separator: "\n").map { "  \($0)" }.joined(separator: "\n"))
        """
    }

    @Test("N-1 a pod is open until a policy of the direction selects it; then the union of the rules counts")
    func selection() throws {
        try nsTest { host in
            let lab = try PolicyLab(host)
            try lab.check("without policies", "shop/web", only: PolicyLab.all)
            let closed = PolicyTests.web("policyTypes: [Ingress]")
            try lab.apply(closed)
            try lab.check("no rule (itself and the host always may)", "shop/web", only: ["shop/web", "host"])
            try lab.check("a pod that nothing selects", "shop/other", only: PolicyLab.all)
            try lab.check("the other direction", "shop/client", from: ["shop/web"], only: ["shop/web"])
            let one = PolicyTests.web("ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]", name: "one")
            let two = PolicyTests.web("ingress: [{from: [{podSelector: {matchLabels: {app: other}}}]}]", name: "two")
            try lab.apply([closed, one, two].joined(separator: "\n---\n"))
            try lab.check("they add up", "shop/web", only: ["shop/web", "shop/client", "shop/other", "host"])
            try lab.apply(two)
            try lab.check("one of them alone", "shop/web", only: ["shop/web", "shop/other", "host"])
            try lab.apply("")
            try lab.check("after they have gone", "shop/web", only: PolicyLab.all)
        }
    }

    @Test("N-2 policyTypes is Ingress, and Egress only with egress rules; no egress at all needs the word")
    func types() throws {
        try nsTest { host in
            let lab = try PolicyLab(host)
            func leaves(_ what: String, _ expected: [String]) throws {
                for pod in ["shop/client", "bank/client"] {
                    try lab.check(what, pod, from: ["shop/web"], only: expected.contains(pod) ? ["shop/web"] : [])
                }
            }
            try lab.apply(PolicyTests.web("ingress: []"))
            try leaves("ingress alone", ["shop/client", "bank/client"])
            try lab.apply(PolicyTests.web("egress: []"))
            try leaves("an empty list is no egress section", ["shop/client", "bank/client"])
            try lab.check("ingress is closed all the same", "shop/web", only: ["shop/web", "host"])
            try lab.apply(PolicyTests.web("egress: [{to: [{podSelector: {matchLabels: {app: client}}}]}]"))
            try leaves("rules for egress", ["shop/client"])
            try lab.check("and ingress is closed", "shop/web", only: ["shop/web", "host"])
            try lab.apply(PolicyTests.web("policyTypes: [Egress]"))
            try leaves("the word alone", [])
            try lab.check("ingress is open", "shop/web", only: PolicyLab.all)
        }
    }

    @Test("N-3 two selectors of one peer both hold, of two peers one; podSelector alone means the own namespace")
    func peers() throws {
        try nsTest { host in
            let lab = try PolicyLab(host)
            func allowed(_ what: String, _ from: String, _ expected: [String]) throws {
                try lab.apply(PolicyTests.web("ingress:\n- from:\n\(from)"))
                try lab.check(what, "shop/web", from: ["shop/client", "shop/other", "bank/client"], only: expected)
            }
            let client = "podSelector: {matchLabels: {app: client}}"
            let bank = "namespaceSelector: {matchLabels: {team: bank}}"
            try allowed("podSelector", "  - \(client)", ["shop/client"])
            try allowed("namespaceSelector", "  - \(bank)", ["bank/client"])
            try allowed("one peer", "  - \(bank)\n    \(client)", ["bank/client"])
            try allowed("two peers", "  - \(bank)\n  - \(client)", ["shop/client", "bank/client"])
            try allowed("everywhere", "  - namespaceSelector: {}\n    \(client)", ["shop/client", "bank/client"])
            try allowed(
                "expression", "  - podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [client]}]}",
                ["shop/other"])
            // Labels change, and the rules follow.
            try lab.setLabels(["app": "client"], of: "shop/other")
            try allowed("relabelled pod", "  - \(client)", ["shop/client", "shop/other"])
            try allowed("before the namespace is relabelled", "  - \(bank)", ["bank/client"])
            try lab.setLabels(["team": "none"], ofNamespace: "bank")
            try lab.check("after it", "shop/web", from: ["bank/client"], only: [])
            try allowed(
                "by the namespace's name", "  - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: bank}}",
                ["bank/client"])
        }
    }

    @Test("N-4 no or an empty from is everybody, an empty list of rules nobody, an empty podSelector all pods")
    func emptiness() throws {
        try nsTest { host in
            let lab = try PolicyLab(host)
            for spec in ["ingress: [{}]", "ingress: [{from: []}]", "ingress: [{ports: []}]"] {
                try lab.apply(PolicyTests.web(spec))
                try lab.check(spec, "shop/web", only: PolicyLab.all)
            }
            try lab.apply(PolicyTests.web("ingress: []"))
            try lab.check("ingress: []", "shop/web", only: ["shop/web", "host"])
            try lab.apply(PolicyTests.web("ingress: [{from: [{podSelector: {}}]}]"))
            try lab.check("podSelector: {}", "shop/web", only: ["shop/web", "shop/client", "shop/other", "host"])
            try lab.apply(
                """
                kind: NetworkPolicy
                metadata: {name: all, namespace: shop}
                spec: {podSelector: {}}
                """)
            for pod in ["shop/web", "shop/client", "shop/other"] {
                try lab.check("\(pod) under a policy for all", pod, only: [pod, "host"])
            }
            try lab.check("another namespace", "bank/client", only: PolicyLab.all)
        }
    }

    @Test("N-5 the node reaches its pods whatever the policy, pods reach it, and replies come back")
    func node() throws {
        try nsTest { host in
            let lab = try PolicyLab(host)
            try lab.apply(
                """
                kind: NetworkPolicy
                metadata: {name: nothing, namespace: shop}
                spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
                """)
            try lab.check("probes", "shop/web", only: ["shop/web", "host"])
            try host.serve("node", in: host.namespace, on: "10.244.0.1:99")
            try requireEqual(try ask("10.244.0.1:99", from: lab.space("shop/web")).prefix(4), "node", "to the node")
            // A pod that may be reached and may reach nobody: its replies are replies.
            try lab.apply(PolicyTests.web("ingress: [{}]\npolicyTypes: [Ingress, Egress]"))
            try lab.check("replies", "shop/web", only: PolicyLab.all)
            try lab.check("own connections", "shop/client", from: ["shop/web"], only: [])
            try require(
                try lab.answersDatagram("shop/web", from: "shop/client", isExpected: true), "replies to datagrams")
            try require(try !lab.answersDatagram("shop/client", from: "shop/web"), "own datagrams")
        }
    }

    @Test("N-6 ipBlock is about the address that a packet bears, a pod's too, without what is excepted")
    func blocks() throws {
        try nsTest { host in
            let lab = try PolicyLab(host)
            try host.serve("outside", in: host.outside, on: "192.0.2.1:80")
            func passes(_ target: String, _ isAllowed: Bool, _ what: String) throws {
                let patience = isAllowed ? 10_000 : PolicyLab.patience
                let answer = try ask(target, from: lab.space("shop/web"), timeoutMilliseconds: patience)
                try requireEqual(answer != "timeout", isAllowed, "\(what): \(target)")
            }
            func allow(_ block: String) throws {
                let problems = try lab.apply(PolicyTests.web("egress:\n- to:\n  - ipBlock: \(block)"))
                try requireEqual(problems, [], "problems")
            }
            try allow("{cidr: 192.0.2.0/24}")
            try passes("192.0.2.1:80", true, "inside the block")
            try lab.check("a pod outside of it", "shop/client", from: ["shop/web"], only: [])
            try allow("{cidr: 192.0.2.0/24, except: [192.0.2.0/28]}")
            try passes("192.0.2.1:80", false, "excepted")
            try allow("{cidr: 0.0.0.0/0, except: [192.0.2.128/25, 10.244.0.6/32]}")
            try passes("192.0.2.1:80", true, "not excepted")
            try passes("10.244.0.6:80", false, "an excepted pod")
            try passes("10.244.0.7:80", true, "a pod in the block")
            try passes("[fd00:244::7]:80", false, "a block of IPv4 says nothing of IPv6")
            try allow("{cidr: \"fd00:244::/64\", except: [\"fd00:244::6/128\"]}")
            try passes("[fd00:244::7]:80", true, "IPv6")
            try passes("[fd00:244::6]:80", false, "IPv6, excepted")
            // Two blocks that overlap, and a hole of one that the other fills.
            let first = "{cidr: 10.244.0.0/24, except: [10.244.0.4/30]}"
            try lab.apply(
                PolicyTests.web("egress:\n- to:\n  - ipBlock: \(first)\n- to:\n  - ipBlock: {cidr: 10.244.0.6/32}"))
            try passes("10.244.0.6:80", true, "overlapping blocks")
            try passes("10.244.0.8:80", true, "overlapping blocks")
            // Nothing that cannot be read opens anything.
            let problems = try lab.apply(
                PolicyTests.web("egress:\n- to:\n  - ipBlock: {cidr: 10.0.0.0/8, except: [192.0.2.0/24]}"))
            try requireEqual(problems.count, 1, "a hole outside of the block is told")
            try passes("10.244.0.7:80", false, "and allows nothing")
        }
    }

    @Test("N-7 named ports are those of the pod that is connected to, and endPort makes a range")
    func ports() throws {
        try nsTest { host in
            let lab = try PolicyLab(host)
            func open(_ what: String, _ to: String, _ from: String, _ expected: [Int]) throws {
                for port in [80, 81, 8080] {
                    try lab.check(what, to, port, from: [from], only: expected.contains(port) ? [from] : [])
                }
            }
            try lab.apply(PolicyTests.web("ingress: [{ports: [{port: http}]}]"))
            try open("named", "shop/web", "shop/client", [8080])
            try lab.apply(PolicyTests.web("ingress: [{ports: [{port: 80, endPort: 81}]}]"))
            try open("range", "shop/web", "shop/client", [80, 81])
            try lab.apply(
                PolicyTests.web(
                    """
                    ingress:
                    - ports: [{port: 80, endPort: 8079}]
                      from: [{podSelector: {matchLabels: {app: client}}}]
                    - ports: [{port: 81, endPort: 9000}]
                      from: [{podSelector: {matchLabels: {app: other}}}]
                    """))
            try open("overlapping ranges, the first", "shop/web", "shop/client", [80, 81])
            try open("overlapping ranges, the second", "shop/web", "shop/other", [81, 8080])
            try lab.apply(PolicyTests.web("ingress: [{ports: [{protocol: UDP, port: 53}]}]"))
            try open("UDP is no TCP", "shop/web", "shop/client", [])
            try require(try lab.answersDatagram("shop/web", from: "shop/client", isExpected: true), "UDP")
            try lab.apply(PolicyTests.web("ingress: [{ports: [{protocol: TCP}]}]"))
            try open("a protocol without port", "shop/web", "shop/client", [80, 81, 8080])
            try require(try !lab.answersDatagram("shop/web", from: "shop/client"), "TCP is no UDP")
            // From a pod, the name is that of whoever is talked to, and each may mean another number.
            try lab.add(
                PolicyLab.Pod(
                    name: "bank/api", labels: [:], number: 9, ports: [.init(name: "http", transport: .tcp, port: 81)]))
            try lab.apply(
                """
                kind: NetworkPolicy
                metadata: {name: client, namespace: shop}
                spec: {podSelector: {matchLabels: {app: client}}, egress: [{ports: [{port: http}]}]}
                """)
            try open("named, from a pod", "shop/web", "shop/client", [8080])
            try open("the same name, another number", "bank/api", "shop/client", [81])
            try open("who has no such name", "shop/other", "shop/client", [])
        }
    }

    @Test("N-8 ATK-42 a pod is closed from its first packet until its rules are known, also after a restart")
    func first() throws {
        try nsTest { host in
            let policy = PolicyTests.web("ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]")
            let lab = try PolicyLab(host, policies: policy)
            let clients = ["shop/client", "shop/other", "bank/client"]
            try lab.check("rules before the link", "shop/web", from: clients, only: ["shop/client"])
            // Linked before anybody has said what it is: nothing goes in or out.
            let early = try attach(lab.network, 20)
            try host.serve("early", in: early, on: "0.0.0.0:80")
            func reached() throws -> String {
                try ask("10.244.0.20:80", from: lab.space("shop/client"), timeoutMilliseconds: PolicyLab.patience)
            }
            try requireEqual(try reached(), "timeout", "to an unknown pod")
            try requireEqual(
                try ask("10.244.0.7:80", from: early, timeoutMilliseconds: PolicyLab.patience), "timeout",
                "from an unknown pod")
            try lab.add(PolicyLab.Pod(name: "shop/late", labels: [:], number: 21), serves: false)
            try lab.check("one that is known", "shop/client", from: ["shop/late"], only: ["shop/late"])
            // Another process takes over: the rules stay, new pods wait for its word.
            let next = try host.setUp()
            try lab.check("after a restart", "shop/web", from: clients, only: ["shop/client"])
            try next.closeUntilPolicies()
            try lab.check("the rules are not thrown away", "shop/web", from: clients, only: ["shop/client"])
            try requireEqual(try reached(), "timeout", "still closed")
            try next.apply(policies: PolicySet(pods: [.init(name: "shop/early", addresses: [try ip("10.244.0.20")])]))
            try requireEqual(
                try ask("10.244.0.20:80", from: host.namespace).prefix(5), "early", "the host, as ever")
        }
    }
}
