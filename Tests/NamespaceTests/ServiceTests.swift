import IO
import Testing

@testable import Network

@Suite("Service addresses")
struct ServiceTests {
    private static func endpoint(_ number: Int, _ port: UInt16 = 8080) throws -> ServicePort.Endpoint {
        ServicePort.Endpoint(try ip("10.244.0.\(number)"), port)
    }

    private static func web(_ numbers: [Int], affinity: Int? = nil) throws -> ServicePort {
        ServicePort(
            service: "shop/web", name: "http", addresses: [try ip("10.96.0.10"), try ip("10.97.0.1")], port: 80,
            endpoints: try numbers.map { try endpoint($0) }, affinitySeconds: affinity)
    }

    @Test("N-13 spread connections over all endpoints, also for a pod that is one of them (300 times)")
    func balance() throws {
        try nsTest { host in
            let network = try host.setUp()
            let pods = try (5...7).map { try attach(network, $0) }
            for (number, pod) in zip(5..., pods) { try host.serve("pod\(number)", in: pod, on: "0.0.0.0:8080") }
            try requireEqual(try network.apply(services: [try ServiceTests.web([5, 6, 7])]), [], "conflicts")
            var counts: [String: Int] = [:]
            for _ in 0..<300 {
                let answer = try ask("10.96.0.10:80", from: pods[0])
                counts[String(answer.prefix(4)), default: 0] += 1
                if answer.hasPrefix("pod6") {
                    try requireEqual(String(answer.suffix(11)), " 10.244.0.5", "the client's address is kept")
                }
            }
            try requireEqual(Set(counts.keys), ["pod5", "pod6", "pod7"], "who answered")
            try require(counts.values.allSatisfy { $0 > 50 }, "uneven: \(counts)")
            try requireEqual(try ask("10.97.0.1:80", from: host.namespace).prefix(3), "pod", "from the host")
            try requireEqual(try ask("10.97.0.1:81", from: host.namespace), "refused", "host, another port")
            try requireEqual(try ask("10.96.0.10:81", from: pods[0]), "refused", "a port that the service has not")
            try requireEqual(try ask("10.96.0.99:80", from: pods[0]), "refused", "an address that nobody has")
        }
    }

    @Test("follow their endpoints, and refuse at once when there are none")
    func change() throws {
        try nsTest { host in
            let network = try host.setUp()
            let pods = try (5...6).map { try attach(network, $0) }
            for (number, pod) in zip(5..., pods) { try host.serve("pod\(number)", in: pod, on: "0.0.0.0:8080") }
            for (endpoints, expected) in [([5], ["pod5"]), ([6], ["pod6"]), ([], ["refu"]), ([5], ["pod5"])] {
                try network.apply(services: [try ServiceTests.web(endpoints)])
                for from in [pods[0], host.namespace] {
                    let answers = try (0..<5).map { _ in String(try ask("10.96.0.10:80", from: from).prefix(4)) }
                    try requireEqual(Set(answers), Set(expected), "endpoints \(endpoints)")
                }
            }
            // Another process: the table serves until the first apply, which knows nothing of what is in it.
            let next = try host.setUp()
            try requireEqual(try ask("10.96.0.10:80", from: pods[1]).prefix(4), "pod5", "after a restart")
            try next.apply(services: [try ServiceTests.web([6], affinity: 60)])
            try requireEqual(try ask("10.96.0.10:80", from: pods[0]).prefix(4), "pod6", "after the first apply")
            try next.apply(services: [])
            try requireEqual(try ask("10.96.0.10:80", from: pods[0]), "refused", "after the service has gone")
            try requireEqual(
                try NFTables.contents(of: CompiledServices.table).filter { $0.hasPrefix("svc") || $0.hasPrefix("to") },
                [],
                "chains left")
        }
    }

    @Test("keep a client at its endpoint when the service asks for it")
    func affinity() throws {
        try nsTest { host in
            let network = try host.setUp()
            let pods = try (5...8).map { try attach(network, $0) }
            for (number, pod) in zip(5..., pods) { try host.serve("pod\(number)", in: pod, on: "0.0.0.0:8080") }
            try network.apply(services: [try ServiceTests.web([5, 6, 7], affinity: 60)])
            let answers = try (0..<20).map { _ in String(try ask("10.96.0.10:80", from: pods[3]).prefix(4)) }
            try requireEqual(Set(answers).count, 1, "endpoints that one client saw")
            // The others go; who stays keeps its clients.
            guard let kept = answers[0].last.flatMap({ Int(String($0)) }) else { throw Failed(description: answers[0]) }
            let stays = [kept, kept == 5 ? 6 : 5].sorted()
            try network.apply(services: [try ServiceTests.web(stays, affinity: 60)])
            let later = try (0..<10).map { _ in String(try ask("10.96.0.10:80", from: pods[3]).prefix(4)) }
            try requireEqual(Set(later), [answers[0]], "after another endpoint went")
        }
    }

    @Test("host ports lead to a pod, from the host's loopback address and from outside")
    func hostPorts() throws {
        try nsTest { host in
            let network = try host.setUp()
            let pod = try attach(network, 5)
            try host.serve("gateway", in: pod, on: "10.244.0.5:80")
            let target = try ip("10.244.0.5")
            try network.apply(hostPorts: [
                HostPort(
                    address: try ip("127.0.0.1"), port: 8080, target: target, targetPort: 80, provenance: "Pod x/gw"),
                HostPort(address: nil, port: 8081, target: target, targetPort: 80, provenance: "Pod x/gw"),
            ])
            try requireEqual(try ask("127.0.0.1:8080", from: host.namespace), "gateway - 10.244.0.1", "loopback")
            try requireEqual(try ask("127.0.0.1:8081", from: host.namespace), "gateway - 10.244.0.1", "any, loopback")
            try requireEqual(try ask("192.0.2.2:8081", from: host.outside), "gateway - 192.0.2.1", "from outside")
            try requireEqual(try ask("192.0.2.2:8081", from: pod), "gateway - 10.244.0.1", "N-13 from the pod itself")
            try requireEqual(try ask("192.0.2.2:8080", from: host.outside), "refused", "loopback port from outside")
            try requireEqual(
                try ask("127.0.0.1:8080", from: pod), "refused", "a pod's own loopback is not the host's")
            let next = try host.setUp()
            try requireEqual(try ask("127.0.0.1:8080", from: host.namespace), "gateway - 10.244.0.1", "after a restart")
            try next.apply(hostPorts: [])
            try requireEqual(try ask("127.0.0.1:8080", from: host.namespace), "refused", "taken away")
        }
    }

    @Test("work for pods whose traffic is captured: the sidecar reaches a service address")
    func captured() throws {
        try nsTest { host in
            let network = try host.setUp()
            let pod = try attach(network, 5, capture: CaptureOptions())
            let other = try attach(network, 6)
            try host.serve("pod6", in: other, on: "0.0.0.0:8080")
            try host.serve("inbound", in: pod, on: "0.0.0.0:15006")
            try network.apply(services: [try ServiceTests.web([5, 6])])
            var seen: Set<String> = []
            for _ in 0..<60 {
                seen.insert(String(try ask("10.96.0.10:80", from: pod, user: 1337).split(separator: " ")[0]))
            }
            try requireEqual(seen, ["inbound", "pod6"], "who answered")
        }
    }

    @Test("N-15 a UDP client goes to a living endpoint once its own has gone")
    func datagrams() throws {
        try nsTest { host in
            let network = try host.setUp()
            let pods = try (5...7).map { try attach(network, $0) }
            for (number, pod) in zip(5..., pods.prefix(2)) {
                try host.serveDatagrams("pod\(number)", in: pod, on: "10.244.0.\(number):8080")
            }
            func dns(_ numbers: [Int]) throws -> ServicePort {
                ServicePort(
                    service: "shop/dns", name: "dns", addresses: [try ip("10.96.0.53")], port: 53, transport: .udp,
                    endpoints: try numbers.map { try ServiceTests.endpoint($0) })
            }
            try network.apply(services: [try dns([5])])
            // One socket, so that the kernel has one connection for all its packets.
            let client = try pods[2].run { () throws(SystemError) in
                try Socket.datagram(on: .ip(.v4(0x0af4_0007), port: 4000)).release()
            }
            let socket = Socket(adopting: client)
            try requireEqual(try host.askDatagram(socket, "10.96.0.53:53"), "pod5", "first endpoint")
            try network.apply(services: [try dns([6])])
            try requireEqual(try host.askDatagram(socket, "10.96.0.53:53"), "pod6", "after it went")
            try network.apply(services: [try dns([])])
            try network.apply(services: [try dns([5])])
            try requireEqual(try host.askDatagram(socket, "10.96.0.53:53"), "pod5", "after it came back")
        }
    }

    @Test(
        "N-15 a node port leads to the service on every address of the host, TCP and UDP, and to nobody without endpoints"
    )
    func nodePorts() throws {
        try nsTest { host in
            let network = try host.setUp()
            let pods = try (5...6).map { try attach(network, $0) }
            for (number, pod) in zip(5..., pods) {
                for any in ["0.0.0.0", "[::]"] { try host.serve("pod\(number)", in: pod, on: "\(any):8080") }
                try host.serveDatagrams("pod\(number)", in: pod, on: "10.244.0.\(number):8080")
            }
            func services(_ numbers: [Int]) throws -> [ServicePort] {
                try Transport.allCases.prefix(2).map { transport in
                    var port = ServicePort(
                        service: "shop/web", name: "\(transport)", addresses: [try ip("10.96.0.10")], port: 80,
                        transport: transport,
                        endpoints: try numbers.map { try ServiceTests.endpoint($0) }
                            + numbers.map { .init(try ip("fd00:244::\($0)"), 8080) })
                    port.nodePort = 30080
                    return port
                }
            }
            try requireEqual(try network.apply(services: try services([5])), [], "conflicts")
            for (target, from) in [
                ("192.0.2.2:30080", host.outside), ("[2001:db8::2]:30080", host.outside),
                ("192.0.2.2:30080", host.namespace), ("10.244.0.1:30080", pods[1]), ("192.0.2.2:30080", pods[1]),
                ("192.0.2.2:30080", pods[0]),
            ] {
                try requireEqual(try ask(target, from: from).prefix(4), "pod5", target)
            }
            try requireEqual(
                try ask("192.0.2.2:30080", from: host.outside), "pod5 - 192.0.2.1", "the client's address is kept")
            let client = try host.outside.run { () throws(SystemError) in
                try Socket.datagram(on: .ip(.v4(0), port: 0)).release()
            }
            let socket = Socket(adopting: client)
            try requireEqual(try host.askDatagram(socket, "192.0.2.2:30080"), "pod5", "UDP")
            try network.apply(services: try services([6]))
            try requireEqual(try host.askDatagram(socket, "192.0.2.2:30080"), "pod6", "UDP after the endpoint went")
            try network.apply(services: try services([]))
            try requireEqual(try ask("192.0.2.2:30080", from: host.outside), "refused", "without endpoints")
            try network.apply(services: [])
            try requireEqual(
                try NFTables.contents(of: CompiledServices.table).filter { $0.contains("_") && $0 != "refuse_own" }, [],
                "what is left")
        }
    }

    @Test(
        "traffic policies: Local from outside keeps to this node, from inside goes anywhere; source ranges close the balancer"
    )
    func trafficPolicies() throws {
        try nsTest { host in
            let network = try host.setUp()
            let pods = try (5...6).map { try attach(network, $0) }
            for (number, pod) in zip(5..., pods) { try host.serve("pod\(number)", in: pod, on: "0.0.0.0:8080") }
            var web = try ServiceTests.web([5, 6])
            web.addresses = [try ip("10.96.0.10")]
            web.balancer = [try ip("192.0.2.50")]
            web.nodePort = 30080
            web.local = [try ServiceTests.endpoint(6)]
            web.externalIsLocal = true
            // As a router in front would: the balancer's address by way of the node.
            let routes = try host.outside.run(catching: { () throws(NetworkError) in try RouteSocket() }).get()
            guard let device = try routes.link("eth0")?.index else { throw Failed(description: "no eth0") }
            try routes.addNeighbour(try ip("192.0.2.50"), hardware: [2, 0, 0, 0, 0, 2], device: device)
            func answers(_ target: String, _ from: NetworkNamespace) throws -> Set<String> {
                Set(try (0..<30).map { _ in String(try ask(target, from: from).prefix(4)) })
            }
            try network.apply(services: [web])
            try requireEqual(try answers("192.0.2.50:80", host.outside), ["pod6"], "the balancer, from outside")
            try requireEqual(try answers("192.0.2.2:30080", host.outside), ["pod6"], "the node port, from outside")
            try requireEqual(try answers("192.0.2.50:80", pods[0]), ["pod5", "pod6"], "the balancer, from a pod")
            try requireEqual(try answers("192.0.2.50:80", host.namespace), ["pod5", "pod6"], "from the host")
            web.local = []
            try network.apply(services: [web])
            try requireEqual(
                try ask("192.0.2.50:80", from: host.outside, timeoutMilliseconds: 200), "timeout", "no local endpoint")
            try requireEqual(try answers("10.96.0.10:80", pods[0]), ["pod5", "pod6"], "the cluster IP all the same")
            web.internalIsLocal = true
            try network.apply(services: [web])
            try requireEqual(try ask("10.96.0.10:80", from: pods[0]), "refused", "internal, no local endpoint")
            web.local = [try ServiceTests.endpoint(5)]
            try network.apply(services: [web])
            try requireEqual(try answers("10.96.0.10:80", pods[1]), ["pod5"], "internal, the local one")
            web.externalIsLocal = false
            web.sourceRanges = [try range("198.51.100.0/24")]
            try network.apply(services: [web])
            try requireEqual(
                try ask("192.0.2.50:80", from: host.outside, timeoutMilliseconds: 200), "timeout", "another source")
            web.sourceRanges.append(try range("192.0.2.0/24"))
            try network.apply(services: [web])
            try requireEqual(try answers("192.0.2.50:80", host.outside), ["pod5", "pod6"], "a source that may")
        }
    }

    @Test("every kind of host port is text that the kernel takes")
    func hostPortKinds() throws {
        try nsTest { host in
            let network = try host.setUp()
            _ = try attach(network, 5)
            var ports: [HostPort] = []
            for transport in Transport.allCases {
                for target in [try ip("10.244.0.5"), try ip("fd00:244::5")] {
                    let address = try ip(target.isV6 ? "2001:db8::2" : "192.0.2.2")
                    for (address, port) in [(address, 1), (address, 2), (nil, 3), (nil, 4)] as [(IPAddress?, UInt16)] {
                        ports.append(
                            HostPort(
                                address: address, port: port, transport: transport, target: target, targetPort: 80,
                                provenance: "Pod a/b"))
                    }
                }
            }
            try network.apply(hostPorts: ports)
            let names = try NFTables.contents(of: HostRules.portTable)
            try requireEqual(names.count, 15, "three chains and twelve maps, found \(names)")
        }
    }

    @Test("a thousand services: one transaction to begin with, a small one for a change (printed, not judged)")
    func many() throws {
        try nsTest { host in
            let network = try host.setUp()
            var ports = try (0..<1000).map { number in
                ServicePort(
                    service: "shop/s\(number)", name: "http",
                    addresses: [try ip("10.96.\(1 + number / 250).\(1 + number % 250)")], port: 80,
                    endpoints: try (5...7).map { try ServiceTests.endpoint($0) })
            }
            let all = try ContinuousClock().measure { try network.apply(services: ports) }
            ports[500].endpoints.removeLast()
            let one = try ContinuousClock().measure { try network.apply(services: ports) }
            let none = try ContinuousClock().measure { try network.apply(services: ports) }
            print("services: all \(all), one changed \(one), none changed \(none)")
            try requireEqual(
                try NFTables.contents(of: CompiledServices.table).filter { $0.hasPrefix("svc") }.count, 1000, "chains")
        }
    }
}
