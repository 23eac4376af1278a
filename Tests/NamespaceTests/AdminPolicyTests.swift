import Glibc
import IO
import Serialization
import Testing
import Workloads

@testable import Network

@Suite("Network policies: the administrator's, audit, connections")
struct AdminPolicyTests {
    private static let closed = """
        kind: NetworkPolicy
        metadata: {name: web, namespace: shop}
        spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]}
        """

    private static func admin(_ action: String, priority: Int = 10, name: String = "anp", from: String) -> String {
        """
        kind: AdminNetworkPolicy
        metadata: {name: \(name)}
        spec:
          priority: \(priority)
          subject: {namespaces: {matchLabels: {team: shop}}}
          ingress:
          - {name: first, action: \(action), from: [\(from)]}
        """
    }

    private static let baseline = """
        kind: BaselineAdminNetworkPolicy
        metadata: {name: default}
        spec:
          subject: {namespaces: {}}
          ingress:
          - {action: Allow, from: [{namespaces: {matchLabels: {team: shop}}}], ports: [{portNumber: {protocol: TCP, port: 80}}]}
          - {action: Deny, from: [{namespaces: {}}]}
        """

    private static func joined(_ documents: String...) -> String { documents.joined(separator: "\n---\n") }

    @Test(
        "N-1 the administrator's policies come first by priority, Pass leaves it to NetworkPolicies, the baseline is last"
    )
    func tiers() throws {
        try nsTest { host in
            let lab = try PolicyLab(host)
            let bank = "{namespaces: {matchLabels: {team: bank}}}"
            let client = "{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: client}}}}"
            let pods = ["shop/client", "shop/other", "bank/client"]
            try lab.apply(Self.joined(Self.closed, Self.admin("Allow", from: bank)))
            try lab.check("Allow beats isolation", "shop/web", from: pods, only: ["shop/client", "bank/client"])
            try lab.apply(Self.joined(Self.closed, Self.admin("Deny", from: client)))
            try lab.check("Deny beats a NetworkPolicy", "shop/web", from: pods, only: [])
            try lab.check("no isolation by it", "shop/other", from: pods, only: ["shop/other"])
            try lab.apply(
                Self.joined(
                    Self.closed, Self.admin("Deny", from: client),
                    Self.admin("Pass", priority: 5, name: "x", from: bank)))
            try lab.check("Pass, isolated", "shop/web", from: pods, only: [])
            try lab.check("Pass, open", "shop/other", from: pods, only: ["shop/other", "bank/client"])
            try lab.apply(Self.baseline)
            try lab.check("the baseline allows", "shop/other", from: pods, only: ["shop/client", "shop/other"])
            try lab.check("but that port alone", "shop/other", 81, from: pods, only: ["shop/other"])
            try lab.check(
                "everybody else", "bank/client", from: pods, only: ["shop/client", "shop/other", "bank/client"])
            try lab.apply(Self.joined(Self.closed, Self.baseline))
            try lab.check("a NetworkPolicy beats it", "shop/web", from: pods, only: ["shop/client"])
            try lab.check("on all ports", "shop/web", 81, from: pods, only: ["shop/client"])
        }
    }

    @Test("a policy in audit mode drops nothing, and counts and names what it would drop; others drop as ever")
    func audit() throws {
        try nsTest { host in
            let lab = try PolicyLab(host)
            let audited = Self.closed.replacing(
                "{name: web, namespace: shop}",
                with: "{name: web, namespace: shop, annotations: {skein.dev/policy-audit: \"true\"}}")
            try lab.apply(audited)
            try lab.check("audit", "shop/web", only: PolicyLab.all)
            let counters = try PolicyCounter.read().filter { $0.packets > 0 }
            let would = counters.filter { $0.cause == "audit: would be dropped: no rule of NetworkPolicy shop/web" }
            try requireEqual(would.map(\.isAllowed), [true], "counters \(counters)")
            // Two pods, each over two families; the host is not asked.
            try require((would.first?.packets ?? 0) >= 4, "what would be dropped: \(would)")
            let flows = try PolicyFlow.read()
            try require(
                flows.contains(PolicyFlow(flow: "10.244.0.7 . 10.244.0.5 . tcp . 80", isDropped: false)), "\(flows)")
            try requireEqual(flows.count, 4, "flows \(flows)")
            try lab.apply(Self.closed)
            try lab.check("in force", "shop/web", only: ["shop/web", "shop/client", "host"])
            let counted = try PolicyCounter.read().filter { $0.packets > 0 }
            try require(
                counted.contains { $0.cause == "NetworkPolicy shop/web spec.ingress[0]" && $0.isAllowed }
                    && counted.contains { $0.cause == "no rule of NetworkPolicy shop/web" && !$0.isAllowed },
                "\(counted)")
        }
    }

    @Test("N-5 an established connection goes on while it is allowed, and is cut when it no longer is")
    func established() throws {
        try nsTest { host in
            let lab = try PolicyLab(host)
            let space = try lab.space("shop/web")
            let listener = try space.run { () throws(SystemError) in
                try Socket.listen(on: .ip(.v4(0), port: 7000)).release()
            }
            let server = Socket(adopting: listener)
            func connect(_ name: String) throws -> (Socket, Socket) {
                let target = SocketAddress.ip(try ip("10.244.0.5"), port: 7000)
                let fd = try lab.space(name).run { () throws(SystemError) in
                    try Socket.connect(to: target, from: nil).release()
                }
                var entry = pollfd(fd: server.fd, events: Int16(POLLIN), revents: 0)
                try require(poll(&entry, 1, 10_000) > 0, "no connection")
                guard let accepted = try server.accept() else { throw Failed(description: "no connection") }
                return (Socket(adopting: fd), accepted)
            }
            func arrives(_ from: Socket, _ to: Socket) throws -> Bool {
                _ = Array("x".utf8).withUnsafeBytes { from.write($0) }
                var entry = pollfd(fd: to.fd, events: Int16(POLLIN), revents: 0)
                guard poll(&entry, 1, 300) > 0 else { return false }
                var buffer = [UInt8](repeating: 0, count: 16)
                if case .bytes = buffer.withUnsafeMutableBytes({ to.read(into: $0) }) { return true }
                return false
            }
            let (client, web) = try connect("shop/client")
            let (other, web2) = try connect("shop/other")
            try require(try arrives(client, web) && arrives(other, web2), "before")
            try lab.apply(Self.closed)
            try require(try arrives(client, web) && arrives(web, client), "one that stays allowed")
            // The server speaks first: its packet must not open the connection again from its side.
            try require(try !arrives(web2, other), "one that is cut, from the server")
            try require(try !arrives(other, web2), "one that is cut, from the client")
            try lab.apply("")
            try require(try arrives(client, web), "after the policies have gone")
        }
    }

    @Test("N-1 to N-7 packets go where the compiled policies say, for any policies (6 of them)")
    func packets() throws {
        try nsTest { host in
            let network = try host.setUp()
            let pods = try (1...6).map { try $0 == 1 ? attach(network, 31) : attach(network, $0) }
            for number in 0..<6 as Range<UInt64> {
                var set = RandomPolicies.random(number)
                for index in set.pods.indices {
                    // .1 is the gateway's.
                    let last = index == 0 ? 31 : index + 1
                    set.pods[index].isLocal = true
                    set.pods[index].addresses = [
                        try ip("10.244.0.\(last)"), try ip("fd00:244::\(String(last, radix: 16))"),
                    ]
                }
                try network.apply(policies: set)
                var numbers = RandomPolicies.Numbers(state: number)
                for _ in 0..<25 {
                    let (from, to) = (Int.random(in: 0..<6, using: &numbers), Int.random(in: 0..<6, using: &numbers))
                    let family = Int.random(in: 0...1, using: &numbers)
                    let port = [80, 81, 90, 82].randomElement(using: &numbers) ?? 80 as UInt16
                    let (source, target) = (set.pods[from].addresses[family], set.pods[to].addresses[family])
                    guard source != target else { continue }
                    let packet = PolicySet.Packet(from: source, to: target, .tcp, port: port)
                    let isAllowed = PolicySet.Direction.allCases.allSatisfy {
                        network.decide(packet, $0)?.isAllowed == true
                    }
                    // Nobody listens: what arrives is refused.
                    let answer = try ask(
                        family == 1 ? "[\(target)]:\(port)" : "\(target):\(port)", from: pods[from],
                        timeoutMilliseconds: isAllowed ? 10_000 : 100)
                    try requireEqual(answer, isAllowed ? "refused" : "timeout", "case \(number): \(packet)")
                }
            }
        }
    }

    @Test("explain --packet names the rule that lets a packet through, and the policies that drop it")
    func explained() throws {
        try nsTest { host in
            let lab = try PolicyLab(host, policies: Self.closed)
            func explain(_ from: String, _ to: String) throws -> PacketExplanation {
                PacketExplanation(try lab.objects, .init(from: try ip(from), to: try ip(to), .tcp, port: 80))
            }
            try requireEqual(
                try explain("10.244.0.6", "10.244.0.5").text(place: { _ in "web.yaml:3" }),
                """
                passes: TCP 80 from shop/client (10.244.0.6) to shop/web (10.244.0.5)
                  egress of shop/client: allowed, no policy
                    no policy of this direction selects it
                  ingress to shop/web: allowed, NetworkPolicy shop/web spec.ingress[0] (web.yaml:3)
                    selected by NetworkPolicy shop/web

                """, "allowed")
            try lab.check("the same with packets", "shop/web", only: ["shop/web", "shop/client", "host"])
            let dropped = try explain("10.244.0.7", "10.244.0.5")
            try require(!dropped.isAllowed, "dropped")
            let text = dropped.text(counters: try PolicyCounter.read())
            try require(text.contains("ingress to shop/web: dropped, no rule of NetworkPolicy shop/web\n"), text)
            try require(text.contains("    counted on this node: "), text)
            try requireEqual(dropped.json["ends"]?[1]?["allowed"], false, "JSON")
            try require(try explain("192.0.2.1", "192.0.2.2").ends.isEmpty, "no pods")
        }
    }

    @Test("a thousand policies over ten thousand pods: a changed one is a small transaction (printed, not judged)")
    func many() throws {
        try nsTest { host in
            let network = try host.setUp()
            var set = PolicySet()
            for pod in 0..<10_000 {
                set.pods.append(
                    .init(
                        name: "ns\(pod / 10)/p\(pod % 10)",
                        addresses: [try ip("10.244.\(pod / 250).\(1 + pod % 250)")], isLocal: pod < 250))
            }
            for number in 0..<1000 {
                set.policies.append(
                    .init(
                        provenance: "NetworkPolicy ns\(number)/p", subjects: Set(number * 10..<number * 10 + 10),
                        ingress: [
                            .init(
                                provenance: "NetworkPolicy ns\(number)/p spec.ingress[0]",
                                members: Set(number * 10..<number * 10 + 10), ports: [.numbers(.tcp, 80...80)])
                        ]))
            }
            let all = try ContinuousClock().measure { try network.apply(policies: set) }
            set.policies[5].ingress?[0].members.insert(7)
            let one = try ContinuousClock().measure { try network.apply(policies: set) }
            print("policies: all \(all), one changed \(one)")
        }
    }
}
